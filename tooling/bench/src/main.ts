import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { oneOf, runCommand, wholeNumber } from '@mezzotint/app';
import { Command } from 'commander';
import { Contestant } from './contestant.js';
import { type Entrant, measure } from './measure.js';
import { type NetworkName, networks } from './networks.js';
import { type BenchResult, markdown, type NetworkResult, rowText } from './report.js';

const here = dirname(fileURLToPath(import.meta.url));
const threads = '2';
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
    'forward passes of onnxruntime with frozen weights as well: float16, bfloat16, int8, int4, separated by commas',
  )
  .option('--python <program>', 'a Python with PyTorch (and diffusers) to compare with', 'python3')
  .option('--write <file>', 'write the tables as Markdown, for example docs/performance.md');

await runCommand<Flags>(command, async (flags, { say, result, signal }) => {
  const found: NetworkResult[] = [];
  for (const network of flags.network) found.push(await bench(network, flags, say, signal));
  const [processor] = cpus();
  const memory = `${Math.round(totalmem() / 2 ** 30)} GB`;
  const answer: BenchResult = {
    date: new Date().toISOString().slice(0, 10),
    machine: `${processor?.model.trim() ?? 'unknown processor'}, ${cpus().length} cores, ${memory}, ${type()} ${release()}, Node ${process.version}`,
    threads: Number(threads),
    runs: flags.runs,
    command: repeat(flags),
    networks: found,
  };
  if (flags.write !== undefined) {
    mkdirSync(dirname(flags.write), { recursive: true });
    writeFileSync(flags.write, markdown(answer));
    say(`Table: ${flags.write}`);
  }
  result(answer);
});

/** Times one network; its contestants live as long. */
async function bench(
  network: NetworkName,
  { runs, engines, weights, python }: Flags,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<NetworkResult> {
  const { about, cost, engines: suitable } = networks[network];
  const { parameters, macs } = cost();
  const env = { OMP_NUM_THREADS: threads, TF_NUM_INTRAOP_THREADS: threads, TF_CPP_MIN_LOG_LEVEL: '2' };
  const entrants: Entrant[] = [];
  const absent: { contestant: string; reason: string }[] = [];
  const enter = async (name: string, program: string, args: readonly string[]) => {
    const started = await Contestant.start(program, args, env);
    if (typeof started === 'string') absent.push({ contestant: name, reason: started });
    else entrants.push(started);
  };
  const node = [...process.execArgv, join(here, 'engine-worker.ts')];
  try {
    await enter('pytorch', python, [join(here, '..', 'peers', 'pytorch.py'), network]);
    for (const engine of engines?.split(',') ?? suitable) {
      await enter(engine, process.execPath, [...node, engine, network]);
    }
    for (const format of weights?.split(',') ?? []) {
      await enter(`onnxruntime ${format}`, process.execPath, [...node, 'onnxruntime', network, format]);
    }
    const rows = await measure(network, entrants, { runs, macs, signal });
    say(`${network}: ${about}`);
    for (const row of rows) say(`  ${rowText(row)}`);
    for (const { contestant, reason } of absent) say(`  ${contestant.padEnd(20)} not here: ${reason}`);
    return { network, about, parameters, macs, rows, absent };
  } finally {
    for (const { contestant } of entrants) contestant.stop();
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
