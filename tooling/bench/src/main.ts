import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { oneOf, runCommand, wholeNumber } from '@mezzotint/app';
import { Command } from 'commander';
import { Contestants } from './contestants.js';
import { operations } from './cost.js';
import { measure } from './measure.js';
import { type NetworkName, networks } from './networks.js';
import { circumstances, writePage } from './page.js';
import { type BenchResult, markdown, type NetworkResult, rowText } from './report.js';

const here = dirname(fileURLToPath(import.meta.url));
const names = Object.keys(networks) as NetworkName[];

interface Flags {
  readonly network: readonly NetworkName[];
  readonly runs: number;
  readonly engines?: string;
  readonly weights?: string;
  readonly python: string;
  readonly write?: string;
}

const command = new Command('bench')
  .description(
    'Times networks on every engine that loads, and on PyTorch if there is one: medians of interleaved runs.',
  )
  .option(
    '--network <list>',
    `all, or some of ${names.map((name) => `${name} (${networks[name].about})`).join('; ')}`,
    networkList,
    ['unet'] as const,
  )
  .option('--runs <n>', 'counted runs of each job, after one warm-up', wholeNumber('--runs', 1), 7)
  .option('--engines <list>', 'engines, separated by commas (default: those that are not too slow for the network)')
  .option(
    '--weights <list>',
    'forward passes of onnxruntime with quantized weights as well: float16, bfloat16, int8, int4, separated by commas',
  )
  .option('--python <program>', 'a Python with PyTorch (and diffusers) to compare with', 'python3')
  .option('--write <file>', 'write the tables as Markdown, for example docs/performance.md');

await runCommand<Flags>(command, async (flags, { say, result, signal }) => {
  const found: NetworkResult[] = [];
  for (const network of flags.network) found.push(await bench(network, flags, say, signal));
  const answer: BenchResult = { ...circumstances(repeat(flags)), runs: flags.runs, networks: found };
  if (flags.write !== undefined) writePage(flags.write, markdown(answer), say);
  result(answer);
});

/** Times one network; its contestants live as long. */
async function bench(
  network: NetworkName,
  { runs, engines, weights, python }: Flags,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<NetworkResult> {
  const { about, cost, trains, engines: suitable } = networks[network];
  const { parameters, macs } = cost();
  const contestants = new Contestants();
  const { entrants, absent } = contestants;
  const node = [...process.execArgv, join(here, 'engine-worker.ts')];
  const enter = (engine: string, job: string, ...format: string[]) =>
    contestants.enter([engine, ...format].join(' '), process.execPath, [...node, engine, network, job, ...format]);
  try {
    for (const job of ['forward', ...(trains ? ['train'] : []), 'matmul']) {
      await contestants.enter('pytorch', python, [join(here, '..', 'peers', 'pytorch.py'), network, job]);
      // The engine cpu would take minutes for that product.
      const able = (engines?.split(',') ?? suitable).filter((engine) => job !== 'matmul' || engine !== 'cpu');
      for (const engine of able) await enter(engine, job);
      if (job === 'forward') for (const format of weights?.split(',') ?? []) await enter('onnxruntime', job, format);
      // Somebody must show what the machine can do.
      const multiplied = entrants.some(({ introduction }) => introduction.jobs.includes('matmul'));
      if (job === 'matmul' && !multiplied) await enter('onnxruntime', job);
    }
    const rows = await measure(network, entrants, { runs, operations: (job) => operations(job, macs), signal });
    say(`${network}: ${about}`);
    for (const row of rows) say(`  ${rowText(row)}`);
    for (const { contestant, reason } of absent) say(`  ${contestant.padEnd(20)} not here: ${reason}`);
    return { network, about, parameters, macs, rows, absent };
  } finally {
    contestants.stop();
  }
}

function networkList(text: string): readonly NetworkName[] {
  return text === 'all' ? names : text.split(',').map(oneOf('--network', names));
}

/** The command line again, without what depends on this machine's folders. */
function repeat({ network, runs, engines, weights, write }: Flags): string {
  const flags = [
    `--network ${network.length === names.length ? 'all' : network.join(',')}`,
    `--runs ${runs}`,
    ...(engines === undefined ? [] : [`--engines ${engines}`]),
    ...(weights === undefined ? [] : [`--weights ${weights}`]),
    ...(write === undefined ? [] : [`--write ${write}`]),
  ];
  return `pnpm bench ${flags.join(' ')}`;
}
