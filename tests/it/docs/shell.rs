//! Reads the commands of a `sh` block, as far as pages use the shell: quotes, comments, lines that
//! go on after a backslash, pipes and lists.

/// A command, which may have several lines.
#[derive(Debug, PartialEq)]
pub struct Command {
    /// Its first line within the block, from 0.
    pub line: usize,
    pub text: String,
}

/// One program of a command and its arguments, as they are written.
#[derive(Debug, PartialEq)]
pub struct Call {
    /// Names of the variables that are set for it.
    pub variables: Vec<String>,
    /// The program and its arguments; empty if the call sets variables alone.
    pub words: Vec<String>,
}

impl Call {
    pub fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Returns the arguments behind the last word of this text.
    pub fn after(&self, word: &str) -> Option<&[String]> {
        let at = self.words.iter().rposition(|other| other == word)?;
        Some(&self.words[at + 1..])
    }
}

/// Follows quotes through a text.
#[derive(Default)]
struct Quotes {
    open: Option<char>,
    is_escaped: bool,
    before: Option<char>,
}

impl Quotes {
    /// Takes the next letter, and returns whether it is plain: neither quoted nor escaped.
    fn is_plain(&mut self, letter: char) -> bool {
        let was_escaped = std::mem::take(&mut self.is_escaped);
        let was_open = self.open;
        match (self.open, letter) {
            _ if was_escaped => {}
            (None | Some('"'), '\\') => self.is_escaped = true,
            (None, '\'' | '"') => self.open = Some(letter),
            (Some(quote), letter) if letter == quote => self.open = None,
            _ => {}
        }
        self.before = Some(letter);
        was_open.is_none() && !was_escaped
    }

    fn starts_word(&self) -> bool {
        self.before.is_none_or(char::is_whitespace)
    }
}

/// Returns the commands of a block.
pub fn commands(block: &str) -> Vec<Command> {
    let (mut commands, mut text) = (Vec::new(), String::new());
    let (mut quotes, mut first, mut line, mut is_comment) = (Quotes::default(), 0, 0, false);
    for letter in block.chars() {
        let starts_word = quotes.starts_word();
        let is_plain = if is_comment && letter != '\n' {
            continue;
        } else {
            quotes.is_plain(letter)
        };
        if is_plain && letter == '#' && starts_word {
            is_comment = true;
            continue;
        }
        if letter == '\n' {
            line += 1;
            is_comment = false;
            if is_plain {
                let done = std::mem::take(&mut text);
                if !done.trim().is_empty() {
                    let text = done.trim().to_owned();
                    commands.push(Command { line: first, text });
                }
                first = line;
                continue;
            }
            // A line that goes on.
            if quotes.open.is_none() {
                text.pop();
                text.push(' ');
                continue;
            }
        }
        text.push(letter);
    }
    commands
}

/// Returns the calls of a command: what stands between `|`, `||`, `&&`, `;` and `&`.
pub fn calls(command: &str) -> Vec<Call> {
    let (mut calls, mut words, mut word) = (Vec::new(), Vec::new(), String::new());
    let mut quotes = Quotes::default();
    for letter in command.chars() {
        let is_plain = quotes.is_plain(letter);
        // The `&` of `2>&1` ends nothing.
        let ends_call = is_plain && matches!(letter, '|' | ';' | '&') && !word.ends_with('>');
        if (ends_call || (is_plain && letter.is_whitespace())) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if ends_call {
            calls.push(std::mem::take(&mut words));
        } else if !(is_plain && letter.is_whitespace()) {
            word.push(letter);
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    calls.push(words);
    calls.retain(|words| !words.is_empty());
    calls.into_iter().map(call).collect()
}

fn call(mut words: Vec<String>) -> Call {
    if words.first().is_some_and(|word| word == "export") {
        words.remove(0);
    }
    let mut variables = Vec::new();
    while let Some(name) = words.first().and_then(|word| assigned(word)) {
        variables.push(name);
        words.remove(0);
    }
    // What stands behind is where the output goes.
    let redirected = words.iter().position(|word| is_redirection(word));
    words.truncate(redirected.unwrap_or(words.len()));
    Call { variables, words }
}

/// Returns the name of the variable that a word sets.
fn assigned(word: &str) -> Option<String> {
    let (name, _) = word.split_once('=')?;
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then(|| name.to_owned())
}

fn is_redirection(word: &str) -> bool {
    let word = word.trim_start_matches(|letter: char| letter.is_ascii_digit());
    word.starts_with('>') || word.starts_with('<')
}

#[test]
fn commands_are_read_as_a_shell_reads_them() {
    let block = "# a\nb 'c # d\ne' # f\n\nA=1 B='2 3' g \\\n  -h 2>&1 | i \"j|k\" > l && export C=4\nm #n\n";
    let commands = commands(block);
    let lines: Vec<_> = commands.iter().map(|command| command.line).collect();
    assert_eq!(lines, [1, 4, 6]);
    assert_eq!(commands[0].text, "b 'c # d\ne'");
    let calls = |text| {
        calls(text)
            .into_iter()
            .map(|call| (call.variables.join(" "), call.words.join(" ")))
            .collect::<Vec<_>>()
    };
    let pair = |variables: &str, words: &str| (variables.to_owned(), words.to_owned());
    assert_eq!(calls(&commands[0].text), [pair("", "b 'c # d\ne'")]);
    assert_eq!(
        calls(&commands[1].text),
        [pair("A B", "g -h"), pair("", "i \"j|k\""), pair("C", "")]
    );
    assert_eq!(calls(&commands[2].text), [pair("", "m")]);
}
