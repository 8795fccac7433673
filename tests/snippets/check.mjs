// Compiles the TypeScript of the pages, validates their Prisma schemas, and runs what reads rows and what makes migrations against a
// real database.
//
// The first line of a block names its file: `// db/clerk.ts`, in Python `# app/models.py`. The files of a page are a project of their own, `@/` is its root.
// scripts/check-snippets calls it, with the packages of package.json installed in the folder that it names,
// and those of requirements.txt in the virtual environment.

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createRequire, register } from "node:module";
import { migrateAll } from "./migrations.mjs";
import { readAll } from "./rows.mjs";

const ROOT = new URL("../..", import.meta.url).pathname;
const [FOLDER, VENV] = process.argv.slice(2);
// The ending of a file in each language.
const LANGUAGES = new Map([["ts", ".ts"], ["tsx", ".tsx"], ["prisma", ".prisma"], ["python", ".py"]]);
// Its migration tools are run.
const MIGRATED = "docs/orm.md";

// What the reader of a page has already.
const GIVEN = { "db/index.ts": 'import { drizzle } from "drizzle-orm/node-postgres";\nexport const db = drizzle(process.env.DATABASE_URL!);\n' };

// The query of a page in README, without Next.js around it.
const GIVEN_TO = {
  "README.md": {
    "query.ts": `import { eq } from "drizzle-orm";
import { db } from "@/db";
import { users } from "@/db/clerk";
export async function user(userId: string) {
  const [user] = await db.select().from(users).where(eq(users.clerkId, userId));
  return user;
}
`,
  },
};

// Returns the blocks of a page, each with its language, its line and its text.
function blocks(text) {
  const found = [];
  let open = null;
  for (const [index, line] of text.split("\n").entries()) {
    const fence = line.match(/^\s*```(.*)$/);
    if (fence && open) {
      found.push(open);
      open = null;
    } else if (fence) {
      open = { language: fence[1].trim(), line: index + 2, text: "" };
    } else if (open) {
      open.text += `${line}\n`;
    }
  }
  return found;
}

// Writes the files of a page to its project; returns its folder, or null if it has none.
function extract(page) {
  const files = blocks(readFileSync(join(ROOT, page), "utf8")).filter((block) => LANGUAGES.has(block.language));
  if (files.length === 0) return null;
  const folder = join(FOLDER, "pages", page.replaceAll("/", "_"));
  rmSync(folder, { recursive: true, force: true });
  const written = new Map(Object.entries({ ...GIVEN, ...GIVEN_TO[page] }));
  const named = new Set();
  for (const { text, line, language } of files) {
    const name = text.match(/^(?:\/\/|#) (\S+)\n/)?.[1];
    const ending = LANGUAGES.get(language);
    if (!name?.endsWith(ending)) throw new Error(`${page}:${line}: the first line must name the file: // db/clerk${ending}`);
    if (named.has(name)) throw new Error(`${page}:${line}: ${name} was there before`);
    named.add(name);
    written.set(name, text);
  }
  for (const [name, text] of written) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  const settings = { extends: "../../tsconfig.json", compilerOptions: { paths: { "@/*": ["./*"] }, outDir: "out", rootDir: "." }, exclude: ["out"] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(settings));
  return { page, folder, names: [...named] };
}

function run(folder, program, ...words) {
  // Prisma's CLI wants its engine for migrations before it does anything, and would download it. Neither command needs it.
  const env = {
    ...process.env,
    PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
    CHECKPOINT_DISABLE: "1",
    PRISMA_HIDE_UPDATE_MESSAGE: "1",
    DATABASE_URL: process.env.DATABASE_URL ?? "postgres://postgres@127.0.0.1:5432/postgres",
  };
  const done = spawnSync(join(FOLDER, "node_modules/.bin", program), words, { cwd: folder, env, encoding: "utf8" });
  if (done.status !== 0) throw new Error(`${program} ${words.join(" ")}, in ${folder}:\n${done.stdout}${done.stderr}`);
}

const pages = ["README.md", ...readdirSync(join(ROOT, "docs")).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`)];
const projects = pages.map(extract).filter(Boolean);
for (const { page, folder, names } of projects) {
  const schemas = names.filter((name) => name.endsWith(".prisma"));
  for (const schema of schemas) {
    run(folder, "prisma", "validate", "--schema", schema);
    run(folder, "prisma", "generate", "--schema", schema);
  }
  run(folder, "tsc", "--project", ".");
  console.log(`${page}: ${names.length} files compiled${schemas.length ? ", its Prisma schema is valid" : ""}`);
}
const pg = createRequire(join(FOLDER, "package.json"))("pg");
// Connections of the pages' pools end with their database.
process.on("uncaughtException", (error) => {
  if (error.code === "57P01") return;
  console.error(error);
  process.exit(1);
});
register("./imports.mjs", import.meta.url);
await readAll(pg, projects);
await migrateAll(FOLDER, VENV, pg, projects.find(({ page }) => page === MIGRATED));
process.exit(0);
