// Runs `pnpm golden` on every folder of reference models, where they are (beside the project); else says so.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const models = join(root, '..', 'shared', 'golden', 'models');
if (!existsSync(models)) {
  console.log(`skipped: no reference models at ../shared/golden/models`);
  process.exit(77);
}
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const folders = readdirSync(models, { withFileTypes: true })
  .filter((e) => e.isDirectory())
  .map((e) => join(models, e.name));
const [command, ...args] = scripts.golden.split(' ');
process.exitCode = spawnSync(command, [...args, ...folders], { cwd: root, stdio: 'inherit' }).status ?? 1;
