#!/usr/bin/env node
// Prisma's schema engine for its CLI: the one that Prisma compiles to WebAssembly and publishes on npm.
//
// The CLI starts a program that it downloads from another server, and asks it line by line. This one answers in its place, so that
// Prisma Migrate runs with npm alone. PRISMA_SCHEMA_ENGINE_BINARY names it, SNIPPETS_FOLDER where the packages are.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const folder = process.env.SNIPPETS_FOLDER;
const require = createRequire(join(folder, "package.json"));
const { PrismaPg } = require("@prisma/adapter-pg");
const { ColumnTypeEnum, bindMigrationAwareSqlAdapterFactory } = require("@prisma/driver-adapter-utils");
const words = process.argv.slice(2);
if (words.includes("cli") || words.includes("--version")) process.exit(0);

// Where the WebAssembly puts the message of a panic.
globalThis.PRISMA_WASM_PANIC_REGISTRY = { set_message: (message) => console.error(message) };

// All values of a flag.
const valuesOf = (flag) => words.flatMap((word, place) => (word === flag ? [words[place + 1]] : []));

// The adapter reads no `"char"`, which the catalog of PostgreSQL has: one letter.
const [CHAR, TEXT] = [18, 25];
function readingLetters(adapter) {
  const { queryRaw, performIO } = adapter;
  let letters = [];
  adapter.performIO = async (query) => {
    const result = await performIO.call(adapter, query);
    // Several statements at once have no fields.
    const fields = result.fields ?? [];
    letters = fields.map(({ dataTypeID }) => dataTypeID === CHAR);
    for (const field of fields) if (field.dataTypeID === CHAR) field.dataTypeID = TEXT;
    return result;
  };
  adapter.queryRaw = async (query) => {
    const result = await queryRaw.call(adapter, query);
    const columnTypes = result.columnTypes.map((type, place) => (letters[place] ? ColumnTypeEnum.Character : type));
    return { ...result, columnTypes };
  };
  return adapter;
}

// The package wants a bundler to read its WebAssembly.
async function schemaEngine() {
  const own = join(folder, "node_modules/@prisma/schema-engine-wasm");
  const glue = await import(pathToFileURL(join(own, "schema_engine_bg.js")));
  const wasm = new WebAssembly.Module(readFileSync(join(own, "schema_engine_bg.wasm")));
  const instance = new WebAssembly.Instance(wasm, { "./schema_engine_bg.js": glue });
  glue.__wbg_set_wasm(instance.exports);
  instance.exports.__wbindgen_start();
  const { url } = JSON.parse(valuesOf("--datasource")[0]);
  const factory = new PrismaPg({ connectionString: url });
  const connect = factory.connect.bind(factory);
  factory.connect = async () => readingLetters(await connect());
  // That of the package drops the database while it is still connected to it.
  factory.connectToShadowDb = async () => {
    const name = `prisma_shadow_${process.pid}_${Date.now()}`;
    const at = Object.assign(new URL(url), { pathname: `/${name}` });
    const server = await factory.connect();
    await server.executeScript(`create database ${name}`);
    const shadow = readingLetters(await new PrismaPg({ connectionString: at.href }).connect());
    const disconnect = shadow.dispose.bind(shadow);
    shadow.dispose = async () => {
      await disconnect();
      await server.executeScript(`drop database ${name} with (force)`);
      await server.dispose();
    };
    return shadow;
  };
  const datamodels = valuesOf("--datamodels").map((path) => [path, readFileSync(path, "utf8")]);
  const adapter = bindMigrationAwareSqlAdapterFactory(factory);
  return glue.SchemaEngine.new({ datamodels }, () => {}, adapter);
}

const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
const engine = await schemaEngine();
for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(line);
  if (!method) continue;
  try {
    const result = (method === "getDatabaseVersion" ? await engine.version() : await engine[method](params)) ?? null;
    if (result?.stdout) send({ id: `print-${id}`, method: "print", params: { content: result.stdout } });
    send({ id, result });
  } catch (error) {
    const code = error.code ?? "unknown";
    send({ id, error: { code: 4466, message: error.message, data: { is_panic: false, message: error.message, error_code: code, meta: error.meta ?? {} } } });
  }
}
process.exit(0);
