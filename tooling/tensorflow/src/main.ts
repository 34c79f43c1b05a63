import { Command } from 'commander';
import { check, install, isInstalled, packageFolder, Unavailable } from './steps.js';

const program = new Command('tensorflow')
  .description("Makes the 'tensorflow' engine (@tensorflow/tfjs-node-gpu) work from TensorFlow's wheel on PyPI.")
  .option('--gpu', "take the GPU wheel ('tensorflow') instead of 'tensorflow-cpu'", false)
  .option('--force', 'do it again, even where the engine already works', false);

const { gpu, force } = program.parse().opts<{ gpu: boolean; force: boolean }>();
try {
  if (!force && isInstalled()) {
    console.log(`TensorFlow ${await check(packageFolder())} is in place already.`);
  } else {
    const version = await install({ gpu, log: (line) => console.log(line) });
    console.log(`TensorFlow ${version} works: MEZZOTINT_BACKEND=tensorflow selects it.`);
  }
} catch (error) {
  if (error instanceof Unavailable) {
    console.log(`skipped: ${error.message}`);
  } else {
    const text = (error as { stderr?: string }).stderr || String(error);
    console.error(`tensorflow: ${text.trim().split('\n').slice(0, 12).join('\n')}`);
    process.exitCode = 1;
  }
}
