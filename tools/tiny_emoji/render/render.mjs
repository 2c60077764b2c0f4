// Renders the emoji that objects.txt lists, in Fluent's two styles, into ../data/sprites, with ../data/objects.json:
// flat ones from SVG to 192x192 RGBA PNG, 3D ones copied as the WebP files they are.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { Resvg } from '@resvg/resvg-js';

const SIZE = 192;
const here = import.meta.dirname;
const require = createRequire(import.meta.url);
const read = (name) => JSON.parse(fs.readFileSync(require.resolve(name), 'utf8'));
const target = path.join(here, '../data/sprites');

// Packages disagree about the variation selector FE0F in code points; without it all of them agree.
const bare = (code) => code.toLowerCase().split('-').filter((part) => part !== 'fe0f').join('-');

const labels = new Map(read('emojibase-data/en/data.json').map((emoji) => [emoji.label, emoji]));
const icons = read('@iconify-json/fluent-emoji-flat/icons.json');
const names = new Map(
  Object.entries(read('@iconify-json/fluent-emoji-flat/chars.json')).map(([code, name]) => [bare(code), name]),
);
const solid = path.join(here, 'node_modules/@lobehub/fluent-emoji-3d/assets');
const solids = new Map(fs.readdirSync(solid).map((file) => [bare(path.parse(file).name), path.join(solid, file)]));

function flat(code) {
  const name = names.get(code);
  const icon = icons.icons[icons.aliases?.[name]?.parent ?? name];
  if (!icon) return null;
  const box = [icon.left || 0, icon.top || 0, icon.width || icons.width, icon.height || icons.height].join(' ');
  const namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"';
  const svg = `<svg ${namespaces} viewBox="${box}" width="${SIZE}" height="${SIZE}">${icon.body}</svg>`;
  return new Resvg(svg, { fitTo: { mode: 'width', value: SIZE } }).render().asPng();
}

function* listed() {
  for (const line of fs.readFileSync(path.join(here, 'objects.txt'), 'utf8').split('\n')) {
    if (!line.trim() || line.startsWith('#')) continue;
    const [label, caption] = line.split(' = ').map((part) => part.trim());
    yield { label, caption: caption || label };
  }
}

fs.mkdirSync(target, { recursive: true });
const objects = [];
for (const { label, caption } of listed()) {
  const emoji = labels.get(label);
  if (!emoji) throw new Error(`objects.txt: emojibase-data knows no emoji "${label}"`);
  const code = bare(emoji.hexcode);
  const picture = flat(code);
  const styles = [];
  if (picture) {
    fs.writeFileSync(path.join(target, `${code}_flat.png`), picture);
    styles.push('flat');
  }
  if (solids.has(code)) {
    fs.copyFileSync(solids.get(code), path.join(target, `${code}_3d.webp`));
    styles.push('3d');
  }
  objects.push({ label, caption, code, styles });
}
fs.writeFileSync(path.join(target, '../objects.json'), JSON.stringify(objects, null, 1) + '\n');
console.log(`${objects.length} objects`);
