// Copies the third-party files that pages use from node_modules into dist, from where build.rs
// embeds them into the binary. Only what is listed here is ever served.

import { copyFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const files = [
  ["htmx.org/dist/htmx.min.js", "htmx.js"],
  ["htmx.org/dist/ext/hx-sse.min.js", "htmx-sse.js"],
  ["uplot/dist/uPlot.iife.min.js", "uplot.js"],
  ["uplot/dist/uPlot.min.css", "uplot.css"],
];

const dist = join(here, "dist");
mkdirSync(dist, { recursive: true });
for (const [from, to] of files) {
  copyFileSync(join(here, "node_modules", from), join(dist, to));
}
console.log(`${files.length} files in hq-server/dist`);
