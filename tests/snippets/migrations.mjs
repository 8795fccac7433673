// Runs the migration tools of docs/orm.md beside the tables of clerk-sync: they leave `clerk.*` alone, and their queries find rows.
//
// Each tool has a database of its own, to which clerk-sync has written a user, their organization and their membership.

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ORGANIZATION, USER, withRows } from "./rows.mjs";

const ENGINE = new URL("./schema-engine.mjs", import.meta.url).pathname;

// What a migration must not change: every table, view, column, index and constraint of the schema.
const SCHEMA = `select string_agg(thing, e'\\n' order by thing) as things from (
  select format('%s %s %s %s', relname, relkind, attname, format_type(atttypid, atttypmod)) as thing
    from pg_class join pg_attribute on attrelid = pg_class.oid where relnamespace = 'clerk'::regnamespace and not attisdropped
  union all select indexdef from pg_indexes where schemaname = 'clerk'
  union all select format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) from pg_constraint where connamespace = 'clerk'::regnamespace
) as all_of_them`;

// The one file below the folder whose name ends so.
function generated(folder, ending) {
  const names = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(ending));
  if (names.length !== 1) throw new Error(`${folder}: ${names.length} migrations were generated: ${names}`);
  return readFileSync(join(folder, names[0]), "utf8");
}

const TOOLS = {
  "drizzle-kit": ({ run, folder }) => {
    run("drizzle-kit", "generate");
    run("drizzle-kit", "migrate");
    // It compares with the database itself.
    const pushed = run("drizzle-kit", "push");
    if (!pushed.includes("No changes detected")) throw new Error(`drizzle-kit push: ${pushed}`);
    return { migration: generated(join(folder, "drizzle"), ".sql"), find: () => projectsOf(folder, "db") };
  },
  "prisma migrate dev": ({ run, folder }) => {
    run("prisma", "migrate", "dev", "--name", "projects");
    const again = run("prisma", "migrate", "dev");
    if (!again.includes("Already in sync")) throw new Error(`prisma migrate dev: ${again}`);
    return { migration: generated(join(folder, "prisma/migrations"), ".sql"), find: () => projectsOf(folder, "lib") };
  },
  alembic: ({ python, folder, url }) => {
    // As `alembic init migrations` makes them; `env.py` is that of the page.
    mkdirSync(join(folder, "migrations/versions"), { recursive: true });
    writeFileSync(join(folder, "alembic.ini"), "[alembic]\nscript_location = migrations\nprepend_sys_path = .\n");
    const template = "from importlib.resources import files; print(files('alembic') / 'templates/generic/script.py.mako')";
    writeFileSync(join(folder, "migrations/script.py.mako"), readFileSync(python("-c", template).trim()));
    python("-m", "alembic", "revision", "--autogenerate", "--message", "projects");
    python("-m", "alembic", "upgrade", "head");
    python("-m", "alembic", "check");
    const find = () => {
      const query = `import json, sys
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from app.projects import projects_of
with Session(create_engine(sys.argv[1])) as session:
    print(json.dumps([dict(row._mapping) for row in projects_of(session, sys.argv[2])]))`;
      return JSON.parse(python("-c", query, url, USER));
    };
    return { migration: generated(join(folder, "migrations/versions"), ".py"), find };
  },
};

async function projectsOf(folder, part) {
  const module = await import(pathToFileURL(join(folder, "out", part, "projects.js")));
  return module.projectsOf(USER);
}

function succeed(program, words, options) {
  const done = spawnSync(program, words, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], ...options });
  const said = `${done.stdout}${done.stderr}`;
  if (done.status !== 0) throw new Error(`${program} ${words.join(" ")}, in ${options.cwd}:\n${said}`);
  return words[0] === "-c" ? done.stdout : said;
}

// Runs every tool in the project of the page.
export async function migrateAll(packages, venv, pg, { page, folder }) {
  for (const [name, use] of Object.entries(TOOLS)) {
    await withRows(pg, async (href) => {
      // The pool of a module reads it when the module is loaded.
      process.env.DATABASE_URL = href;
      const env = { ...process.env, SNIPPETS_FOLDER: packages, PRISMA_SCHEMA_ENGINE_BINARY: ENGINE, CHECKPOINT_DISABLE: "1", PRISMA_HIDE_UPDATE_MESSAGE: "1" };
      const url = href.replace(/^\w+:/, "postgresql+psycopg:");
      const run = (program, ...words) => succeed(join(packages, "node_modules/.bin", program), words, { cwd: folder, env });
      const python = (...words) => succeed(join(venv, "bin/python"), words, { cwd: folder, env: { ...env, DATABASE_URL: url } });
      const client = new pg.Client({ connectionString: href });
      await client.connect();
      try {
        const schema = async () => (await client.query(SCHEMA)).rows[0].things;
        const before = await schema();
        const { migration, find } = use({ run, python, folder, url });
        if ((await schema()) !== before) throw new Error(`${name} changed the schema clerk`);
        if (!migration.includes("projects")) throw new Error(`${name} made no table: ${migration}`);
        // `"clerk"."users"` and `clerk.users.clerk_id` may stand there as the target of the key.
        const named = migration.split("\n").filter((line) => /clerk\W/.test(line) && !/references|ForeignKey/i.test(line));
        if (named.length) throw new Error(`${name} names what is not its own: ${named}`);
        await client.query("insert into public.projects (name, organization_id, created_by) values ('Atlas', $1, $2), ('Other', 'org_other', $2)", [ORGANIZATION, USER]);
        const found = await find();
        if (found.length !== 1 || found[0].name !== "Atlas") throw new Error(`${name}: the query found ${JSON.stringify(found)}`);
        console.log(`${page}: ${name} leaves clerk.* alone, and the query finds its row`);
      } finally {
        await client.end();
      }
    });
  }
}
