// Resolves imports as Next.js does: `@/` is the root of the page's project, and endings may be left out.

import { existsSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { dirname, join } from "node:path";

export async function resolve(specifier, context, next) {
  if (!context.parentURL?.includes("/out/") || !/^(@\/|\.)/.test(specifier)) return next(specifier, context);
  const parent = fileURLToPath(context.parentURL);
  const root = parent.slice(0, parent.indexOf("/out/") + "/out/".length);
  const path = specifier.startsWith("@/") ? join(root, specifier.slice(2)) : join(dirname(parent), specifier);
  const found = [`${path}.js`, join(path, "index.js"), path.replace(/\.ts$/, ".js")].find(existsSync);
  return next(pathToFileURL(found ?? path).href, context);
}
