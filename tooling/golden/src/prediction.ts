import { type CommandContext, openDiffusionModel, runCommand } from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import { TorchGenerator } from '@mezzotint/core';
import { writeSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';

const command = new Command('golden:prediction')
  .description(
    'Writes a prediction of a run of `train`, with its inputs, for scripts/trained_folder.py, which asks diffusers for the same.',
  )
  .argument('<run>', 'a run folder')
  .argument('<file>', 'the safetensors file that is written: in.x and out (NCHW), in.time, in.labels');

/** Two pictures at two times. */
async function writePrediction(_: object, { say }: CommandContext): Promise<void> {
  const [run, file] = command.args as [string, string];
  await useBackend();
  const { model, config } = await openDiffusionModel(run);
  const { size, channels } = config.image;
  const noise = new TorchGenerator(0).randn(2 * size * size * channels);
  const nchw = (x: tf.Tensor4D) => tf.transpose(x, [0, 3, 1, 2]);
  const time = Float32Array.of(40, 700);
  const labels = Int32Array.from([0, Math.max(config.classes.length - 1, 0)]);
  const [x, out] = tf.tidy(() => {
    const x = tf.tensor4d(noise, [2, size, size, channels]);
    const cond = config.classes.length === 0 ? {} : { labels: tf.tensor1d(labels, 'int32') };
    return [nchw(x), nchw(model.forward(x, tf.tensor1d(time), cond))] as const;
  });
  const host = async (tensor: tf.Tensor4D) => ({ shape: tensor.shape, data: (await tensor.data()) as Float32Array });
  const tensors = {
    'in.x': await host(x),
    'in.time': { shape: [2], data: time },
    ...(config.classes.length > 0 && { 'in.labels': { shape: [2], data: Float32Array.from(labels) } }),
    out: await host(out),
  };
  await writeSafetensors(file, tensors, { overwrite: true });
  say(file);
}

await runCommand(command, writePrediction);
