// `npm start`: sets the repository up and samples a labelled grid from prompts with the model in models/emoji.
import { join, relative } from 'node:path';
import { build, install, root, run } from './setup.mjs';

const asked = process.argv.slice(2);
const says = (...flags) =>
  asked.some((argument) => flags.some((flag) => argument === flag || argument.startsWith(`${flag}=`)));
const emoji = join(root, 'models', 'emoji');

install();
build();
run(process.execPath, [
  join(root, 'apps', 'sample', 'dist', 'main.js'),
  ...(says('--model') ? [] : ['--model', emoji]),
  ...(says('--model', '--prompt', '--prompts', '--replay') ? [] : ['--prompts', join(emoji, 'prompts.txt')]),
  ...['--out', join(root, 'out', says('--model') ? 'pictures.png' : 'emoji.png'), '--overwrite'],
  ...asked,
]);
if (!asked.includes('--json') && !says('--model')) {
  const model = (name) => relative(process.cwd(), join(root, 'models', name)) || '.';
  console.log(
    `\nYour own words:  npx pnpm sample --model ${model('emoji')} --prompt "a police officer, twemoji style" --out officer.png\n` +
      `Digits:          npx pnpm sample --model ${model('digits')} --labels 0-9 --guidance 2 --out digits.png`,
  );
}
