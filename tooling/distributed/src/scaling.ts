import { addPairwise } from '@mezzotint/distributed';
import { NumpyRandomState } from '@mezzotint/random';

/** A network whose training is spread. */
export interface Model {
  readonly name: string;
  readonly parameters: number;
  /** Seconds of forward, backward and update for one picture on this machine: three forward passes of docs/performance-large.md. */
  readonly secondsAPicture: number;
}

export const models: readonly Model[] = [
  { name: 'DiT-XL/2', parameters: 675_130_000, secondsAPicture: 3 * 1.524 },
  { name: 'Stable Diffusion 1.5', parameters: 859_520_000, secondsAPicture: 3 * 4.999 },
];

/** A network between nodes: bits a second of each node in each direction, and the time of a message of no bytes. */
export interface Wire {
  readonly name: string;
  readonly bitsASecond: number;
  readonly latency: number;
}

export const wires: readonly Wire[] = [
  { name: '10 Gb/s', bitsASecond: 10e9, latency: 30e-6 },
  { name: '100 Gb/s', bitsASecond: 100e9, latency: 5e-6 },
  { name: '400 Gb/s', bitsASecond: 400e9, latency: 3e-6 },
];

/** What a rank does with gradients, in numbers a second. */
export interface HostRates {
  /** Copies into a bucket. */
  readonly copy: number;
  /** Additions of float32. */
  readonly add: number;
}

/** What is simulated. */
export interface Scenario {
  readonly model: Model;
  readonly wire: Wire;
  readonly ranks: number;
  /** Pictures of a rank in an update. */
  readonly pictures: number;
  /** How much faster than this machine a node computes. */
  readonly speed: number;
  readonly bytesANumber: 2 | 4;
  readonly bucketBytes: number;
  readonly host: HostRates;
}

/** Deviation of the time of an update from rank to rank, as a fraction; the slowest of all is waited for. */
const JITTER = 0.02;
const UPDATES = 50;

/**
 * Mean seconds of an update, and the fraction of them that one rank alone would need for its pictures. Each rank computes for a time
 * of its own; from when the slowest is done, buckets are read from the engine one after the other, and sent in turn, as
 * `gradientExchange` does: parts of the bucket to the ranks that add them up (N - 1 messages), then sums to all (N - 1 messages).
 */
export function simulate(scenario: Scenario): { readonly seconds: number; readonly efficiency: number } {
  const { model, wire, ranks, pictures, speed, bytesANumber, bucketBytes, host } = scenario;
  const alone = (pictures * model.secondsAPicture) / speed;
  const random = new NumpyRandomState(ranks);
  let total = 0;
  for (let update = 0; update < UPDATES; update++) {
    const slowest = Math.max(...random.randn(ranks).map((z) => alone * Math.exp(JITTER * z)));
    total += slowest + (ranks === 1 ? 0 : exchange());
  }
  const seconds = total / UPDATES;
  return { seconds, efficiency: alone / seconds };

  function exchange(): number {
    const most = bucketBytes / 4;
    let [read, free] = [0, 0];
    for (let left = model.parameters; left > 0; left -= most) {
      const numbers = Math.min(left, most);
      read += numbers / host.copy;
      const share = (numbers * (ranks - 1)) / ranks;
      const phase = (share * bytesANumber * 8) / wire.bitsASecond + (ranks - 1) * wire.latency;
      free = Math.max(read, free) + 2 * phase + share / host.add;
    }
    return free;
  }
}

/** Copies and additions a second of this machine, the best of several tries. */
export function measureHost(): HostRates {
  const size = 2 ** 20; // 4 MiB: beyond the caches of a core
  const [a, b] = [new Float32Array(size).fill(1), new Float32Array(size).fill(2)];
  const best = (work: () => void) => {
    const times = Array.from({ length: 150 }, () => {
      const start = performance.now();
      work();
      return performance.now() - start;
    });
    return size / (Math.min(...times) / 1000);
  };
  return { copy: best(() => a.set(b)), add: best(() => void addPairwise([a, b])) };
}

const RANKS = [8, 64, 512];

/** The page's part that this command writes: tables, and points of the plot. */
export function scalingReport(host: HostRates) {
  const percent = (x: number) => `${(100 * x).toFixed(x > 0.0995 ? 0 : 1)} %`;
  const lines = [
    `A node copies ${(host.copy / 1e9).toFixed(2)} and adds ${(host.add / 1e9).toFixed(2)} billion numbers a second (measured in this run).`,
    '',
  ];
  const nodes = [
    { speed: 1, pictures: 8, name: 'Nodes like this machine (2 cores), 8 pictures a rank' },
    {
      speed: 100,
      pictures: 8,
      name: 'Nodes that compute 100 times as fast (assumed, not measured), 8 pictures a rank',
    },
    { speed: 100, pictures: 64, name: 'The same with 64 pictures a rank' },
  ];
  for (const { speed, pictures, name } of nodes) {
    lines.push(`**${name}**`, '');
    lines.push(
      `| network | wire | ${RANKS.map((n) => `${n} ranks`).join(' | ')} | ${RANKS.map((n) => `${n}, bfloat16`).join(' | ')} |`,
    );
    lines.push(`| --- | --- | ${RANKS.map(() => '---: | ---:').join(' | ')} |`);
    for (const model of models) {
      for (const wire of wires) {
        const at = (ranks: number, bytesANumber: 2 | 4) => {
          const bucketBytes = bucketFor(ranks);
          return percent(simulate({ model, wire, ranks, pictures, speed, bytesANumber, bucketBytes, host }).efficiency);
        };
        const cells = ([4, 2] as const).flatMap((bytes) => RANKS.map((ranks) => at(ranks, bytes)));
        lines.push(`| ${model.name} | ${wire.name} | ${cells.join(' | ')} |`);
      }
    }
    lines.push('');
  }
  lines.push(
    'Seconds that a rank has to compute in each update for an efficiency of 80 % and 50 %, at 64 ranks with float32:',
    '',
  );
  lines.push('| network | wire | 80 % | 50 % |', '| --- | --- | ---: | ---: |');
  for (const model of models) {
    for (const wire of wires) {
      const cells = [0.8, 0.5].map((goal) => `${needed(model, wire, goal, host).toPrecision(2)} s`);
      lines.push(`| ${model.name} | ${wire.name} | ${cells.join(' | ')} |`);
    }
  }
  const ranks = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
  const series = models.flatMap((model) =>
    wires.map((wire) => ({
      name: `${model.name}, ${wire.name}`,
      x: ranks,
      y: ranks.map(
        (n) =>
          simulate({ model, wire, ranks: n, pictures: 8, speed: 100, bytesANumber: 4, bucketBytes: bucketFor(n), host })
            .efficiency,
      ),
    })),
  );
  return { text: lines.join('\n'), series };
}

/** Larger buckets for more ranks, so that the parts that go to each are not too small for their messages. */
function bucketFor(ranks: number): number {
  return ranks > 64 ? 200 * 2 ** 20 : 25 * 2 ** 20;
}

/** The computing time of an update at which the efficiency is `goal`, by bisection. */
function needed(model: Model, wire: Wire, goal: number, host: HostRates): number {
  let [low, high] = [1e-4, 1e4];
  for (let i = 0; i < 60; i++) {
    const seconds = Math.sqrt(low * high);
    const of = { name: model.name, parameters: model.parameters, secondsAPicture: seconds };
    const run = { model: of, wire, ranks: 64, pictures: 1, speed: 1, bytesANumber: 4, host } as const;
    if (simulate({ ...run, bucketBytes: bucketFor(64) }).efficiency < goal) low = seconds;
    else high = seconds;
  }
  return high;
}
