import { runCommand, wholeNumber } from '@mezzotint/app';
import { Command } from 'commander';
import { type KillsOptions, runKills } from './kills.js';

const [word, ...rest] = process.argv.slice(2);
if (word === 'kills') {
  const command = new Command('distributed kills')
    .description(
      'Kills ranks of a training at random moments, and compares the end with a training that was not stopped.',
    )
    .option('--kills <n>', 'how often', wholeNumber('--kills', 1), 20)
    .option('--seed <n>', 'of the moments', wholeNumber('--seed'), 0)
    .option('--data <folder>', 'pictures to train on (default: the digits)');
  await runCommand<KillsOptions>(
    command,
    async (options, { say }) => {
      if (!(await runKills(options, say))) process.exitCode = 1;
    },
    rest,
  );
} else {
  process.stderr.write('Expected one of: kills\n');
  process.exitCode = 2;
}
