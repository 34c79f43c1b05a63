import { runCommand } from '@mezzotint/app';
import { agreementCommand, runAgreement } from './agreement.js';
import { goldenCommand, runGolden } from './command.js';

const [word, ...rest] = process.argv.slice(2);
if (word === 'agreement') await runCommand(agreementCommand(), runAgreement, rest);
else {
  const command = goldenCommand();
  await runCommand(command, (_, context) => runGolden(command.args, context));
}
