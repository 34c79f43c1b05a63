import { runCommand, wholeNumber } from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import { stepBoundary } from '@mezzotint/core';
import { writePng } from '@mezzotint/data';
import { plotLines } from '@mezzotint/figures';
import { attention, selectiveScan, ssd } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';
import { circumstances, page, table, writePage } from './page.js';
import { timing } from './statistics.js';

/** Lengths of the sequences: images of 16x16 to 128x128 tokens. */
const lengths = [256, 1024, 4096, 16_384] as const;

/** Width of the tokens; the scans have twice as many channels, as in Mamba, and attention heads of 64. */
const width = 192;

const normal = (...shape: number[]) => tf.randomNormal(shape, 0, 1, 'float32', 1);

/** Makes the inputs of one operation for a length, and runs it. */
type Operation = (length: number) => { readonly inputs: tf.Tensor[]; run(): tf.Tensor };

const operations: Readonly<Record<string, Operation>> = {
  'selective scan, 16 states': (length) => {
    const [x, delta] = [normal(1, length, 2 * width), tf.softplus(normal(1, length, 2 * width))];
    const a = tf.neg(tf.exp(normal(2 * width, 16)));
    const [b, c] = [normal(1, length, 16), normal(1, length, 16)];
    const run = () =>
      selectiveScan(x as tf.Tensor3D, delta as tf.Tensor3D, a as tf.Tensor2D, b as tf.Tensor3D, c as tf.Tensor3D).y;
    return { inputs: [x, delta, a, b, c], run };
  },
  'state space dual, 64 states': (length) => {
    const heads = (2 * width) / 64;
    const [x, delta] = [normal(1, length, heads, 64), tf.softplus(normal(1, length, heads))];
    const a = tf.neg(tf.exp(normal(heads)));
    const [b, c] = [normal(1, length, 1, 64), normal(1, length, 1, 64)];
    const run = () =>
      ssd(x as tf.Tensor4D, delta as tf.Tensor3D, a as tf.Tensor1D, b as tf.Tensor4D, c as tf.Tensor4D).y;
    return { inputs: [x, delta, a, b, c], run };
  },
  attention: (length) => {
    const [q, k, v] = [0, 1, 2].map(() => normal(1, width / 64, length, 64) as tf.Tensor4D);
    return { inputs: [q!, k!, v!], run: () => attention(q!, k!, v!) };
  },
};

interface Flags {
  readonly runs: number;
  readonly engine?: string;
  readonly write?: string;
}

const command = new Command('linear-cost')
  .description(
    'Microseconds a token of the selective scan, the state space dual and attention, for 256 to 16,384 tokens.',
  )
  .option('--runs <n>', 'counted runs of each, after two that compile and warm up', wholeNumber('--runs', 1), 3)
  .option('--engine <name>', 'TensorFlow.js engine (default: the fastest here)')
  .option('--write <file>', 'write the table as Markdown and the figure beside it, for example docs/linear-cost.md');

await runCommand<Flags>(command, async ({ runs, engine: asked, write }, { say, result, signal }) => {
  const engine = await useBackend({ engine: asked });
  const rows: { operation: string; microseconds: number[] }[] = [];
  for (const [operation, make] of Object.entries(operations)) {
    const microseconds: number[] = [];
    for (const length of lengths) {
      signal.throwIfAborted();
      const { inputs, run } = make(length);
      const times: number[] = [];
      for (let i = 0; i < runs + 2; i++) {
        const start = performance.now();
        const out = tf.tidy(run);
        await out.data();
        out.dispose();
        stepBoundary();
        if (i > 1) times.push(performance.now() - start);
      }
      tf.dispose(inputs);
      microseconds.push((1000 * timing(times).median) / length);
    }
    rows.push({ operation, microseconds });
    say(`${operation.padEnd(28)} ${microseconds.map((us) => us.toFixed(1)).join('  ')}  microseconds a token`);
  }
  if (write !== undefined) {
    const figure = write.replace(/\.md$/, '.png');
    const series = rows.map(({ operation, microseconds }) => ({ name: operation, x: lengths, y: microseconds }));
    const labels = { xLabel: 'tokens', yLabel: 'microseconds a token', xScale: 'log', yScale: 'log' } as const;
    await writePng(figure, plotLines(series, { title: `Cost of mixing tokens of width ${width}`, ...labels }), {
      overwrite: true,
    });
    const repeat = `pnpm bench:linear-cost --runs ${runs} --write ${write}`;
    const numbers = lengths.map((length) => `>${length.toLocaleString('en-US')} tokens`);
    const body = [
      `Forward passes on ${engine.name}, batch 1, tokens of width ${width}; the scans have ${2 * width} channels. Microseconds a token, medians of ${runs} runs:`,
      '',
      ...table(
        ['operation', ...numbers, '>last / first'],
        rows.map(({ operation, microseconds: us }) => [
          operation,
          ...us.map((value) => value.toFixed(1)),
          (us.at(-1)! / us[0]!).toFixed(2),
        ]),
      ),
      '',
      `![microseconds a token over the number of tokens](${figure.split('/').at(-1)})`,
    ];
    writePage(write, page('Cost of the scans and of attention', circumstances(repeat), body), say);
  }
  result({ engine: engine.name, version: engine.version, lengths, rows });
});
