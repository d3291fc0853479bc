// Fails when what a browser must load before the first page works is too heavy.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const LIMIT_KB = 150;
const web = join(dirname(fileURLToPath(import.meta.url)), "../../pixmo/web");
const html = readFileSync(join(web, "index.html"), "utf8");
const first = [...html.matchAll(/(?:src|href)="\/([^"]+)"/g)].map((match) => String(match[1]));

let total = gzipSync(html).length;
for (const name of new Set(first)) total += gzipSync(readFileSync(join(web, name))).length;

const kilobytes = total / 1024;
console.log(`first load: ${kilobytes.toFixed(1)} KB gzipped in ${first.length + 1} files (limit ${LIMIT_KB} KB)`);
if (kilobytes > LIMIT_KB) {
  console.error("The first load is over the limit: load a page lazily or drop a dependency.");
  process.exit(1);
}
