// `npm start`: sets the repository up and samples a labelled grid from prompts with the model in models/emoji.
import { join, relative } from 'node:path';
import { build, install, root, run } from './setup.mjs';
import { startArguments } from './start-arguments.mjs';

const asked = process.argv.slice(2);
const { own, argv } = startArguments(root, asked);

install();
build();
run(process.execPath, [join(root, 'apps', 'sample', 'dist', 'main.js'), ...argv]);
if (!asked.includes('--json') && own) {
  const model = (name) => relative(process.cwd(), join(root, 'models', name)) || '.';
  console.log(
    `\nYour own words:  npx pnpm sample --model ${model('emoji')} --prompt "a police officer, twemoji style" --out officer.png\n` +
      `Digits:          npx pnpm sample --model ${model('digits')} --labels 0-9 --guidance 2 --out digits.png`,
  );
}
