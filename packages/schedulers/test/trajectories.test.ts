import { switchTo, testEngines } from '@mezzotint/backend/testing';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  customSchedule,
  ddim,
  deis,
  denoiser,
  discreteProcess,
  discreteTime,
  dpm2,
  dpmpp,
  dpmppSinglestep,
  dpmSolver,
  edm,
  edmTime,
  epsilon,
  euler,
  flow,
  flowHeun,
  flowSchedule,
  gridFlowSigmas,
  heun,
  insetFlowSigmas,
  karrasSigmas,
  leadingTimesteps,
  linearBetas,
  linspaceTimesteps,
  lms,
  type NoiseSchedule,
  noiseRatioAt,
  openFlowSigmas,
  type Parameterisation,
  plms,
  ratioSchedule,
  run,
  type ScheduleKind,
  type Solver,
  scaledLinearBetas,
  shiftFlow,
  sigmaSchedule,
  type TimeOf,
  timestepSchedule,
  trailingTimesteps,
  unipc,
  vPrediction,
  zeroTerminalSnr,
} from '../src/index.js';
import { compareStep, dummyNetwork, dummySample } from './dummy.js';
import golden from './fixtures/diffusers.json' with { type: 'json' };

interface Golden {
  readonly n: number;
  readonly l2: number | null;
  readonly steps: (number | null)[][];
}

/** How one trajectory of the golden file is made. */
interface Setup {
  readonly solver: Solver<ScheduleKind, 'estimate'>;
  readonly table: NoiseSchedule;
  /** Factor of the start: init_noise_sigma. */
  readonly start?: number;
  /** Which golden entry our step k ends at; theirs has one for each evaluation. */
  readonly entry?: (k: number) => number;
}

const N = 10;
const precision = 'float32';
const chains = {
  lin: discreteProcess(linearBetas(), { precision }),
  sd: discreteProcess(scaledLinearBetas(), { precision }),
};
const zeroSnr = {
  lin: discreteProcess(zeroTerminalSnr(linearBetas()), { precision }),
  sd: discreteProcess(zeroTerminalSnr(scaledLinearBetas()), { precision }),
};
type ChainName = keyof typeof chains;

/** A VE table at times of the chain, with the chain's own interpolation of sigma. */
function veAt(chain: ChainName, times: Float64Array): NoiseSchedule<'ve'> {
  const sigma = Float64Array.from([...times.map((t) => noiseRatioAt(chains[chain], t)), 0]);
  return customSchedule('ve', { alpha: sigma.map(() => 1), sigma, time: Float64Array.from([...times, 0]) });
}

function range(chain: ChainName) {
  return { steps: N, min: noiseRatioAt(chains[chain], 0), max: noiseRatioAt(chains[chain], 999) };
}

const linspace = linspaceTimesteps(1000, N, { whole: false });
const dropLast = linspaceTimesteps(1000, N, { dropLast: true });
const leading = leadingTimesteps(1000, N);
const ve =
  (solver: Solver<ScheduleKind, 'estimate'>) =>
  (chain: ChainName): Setup => {
    const table = veAt(chain, linspace);
    return { solver, table, start: table.sigma[0]! };
  };
const vp =
  (solver: Solver<ScheduleKind, 'estimate'>, final: 'clean' | 'first' = 'clean') =>
  (chain: ChainName): Setup => ({
    solver,
    table: timestepSchedule(chains[chain], dropLast, { final }),
  });
const cutOff: TimeOf = ({ sigma }) => Math.trunc(1000 * sigma);
const belowOne = (sigmas: Float64Array) => sigmas.map((sigma) => Math.min(sigma, 1 - 1e-6));
const everySecond = (k: number) => Math.min(2 * k + 1, 18);

const setups: readonly (readonly [RegExp, (chain: ChainName, name: string) => Setup])[] = [
  [
    /^DDIM zero-snr/,
    (chain) => ({ solver: ddim(), table: timestepSchedule(zeroSnr[chain], trailingTimesteps(1000, N)) }),
  ],
  [/^DDIM/, (chain) => ({ solver: ddim(), table: timestepSchedule(chains[chain], leading) })],
  [
    /^PNDM/,
    (chain, name) => ({
      solver: plms({ average: name.includes('v_pred') ? 'v' : 'noise' }),
      // Their last step goes from t = 0 to t = 0 and changes nothing; this table ends at t = 0.
      table: timestepSchedule(chains[chain], leading.slice(0, -1), { final: 'first' }),
      entry: (k) => k + 1,
    }),
  ],
  [
    /^Euler karras/,
    (chain) => {
      const table = sigmaSchedule(karrasSigmas(range(chain)), discreteTime(chains[chain]));
      return { solver: euler(), table, start: table.sigma[0]! };
    },
  ],
  [/^Euler/, ve(euler())],
  [/^Heun/, (chain) => ({ ...ve(heun())(chain), entry: everySecond })],
  [/^KDPM2/, (chain) => ({ ...ve(dpm2())(chain), entry: everySecond })],
  [/^LMS/, ve(lms())],
  [
    /^DPM\+\+2M karras/,
    (chain) => ({
      solver: dpmpp(),
      table: ratioSchedule('vp', karrasSigmas(range(chain)), discreteTime(chains[chain], { whole: true })),
    }),
  ],
  [/^DPM\+\+2M heun/, vp(dpmpp({ type: 'heun' }))],
  [/^DPM\+\+(\d)M (lin|sd)/, (chain, name) => vp(dpmpp({ order: digit(name, 5) }))(chain)],
  [/^DPM-(\d)M/, (chain, name) => vp(dpmSolver({ order: digit(name, 4) }), 'first')(chain)],
  [/^DPM\+\+(\d)S/, (chain, name) => vp(dpmppSinglestep({ order: digit(name, 5) }))(chain)],
  [/^DEIS(\d)/, (chain, name) => vp(deis({ order: digit(name, 4) }), 'first')(chain)],
  [
    /^UniPC(\d) bh/,
    (chain, name) => vp(unipc({ order: digit(name, 5), type: name.includes('bh1') ? 'bh1' : 'bh2' }))(chain),
  ],
  [
    /^EDMEuler/,
    () => {
      const table = sigmaSchedule(karrasSigmas({ steps: N, min: 0.002, max: 80 }), edmTime);
      return { solver: euler(), table, start: Math.hypot(80, 1) };
    },
  ],
  [
    /^FlowMatchEuler/,
    () => ({ solver: euler(), table: flowSchedule(shiftFlow(gridFlowSigmas(N, { endShift: 3 }), 3)) }),
  ],
  [
    /^FlowMatchHeun/,
    () => ({
      solver: flowHeun(),
      table: flowSchedule(shiftFlow(gridFlowSigmas(N, { endShift: 3 }), 3)),
      entry: everySecond,
    }),
  ],
  // These two tell the network whole times, cut off; UniPC's table starts 1e-6 below pure noise.
  [/^DPM\+\+2M flow/, () => ({ solver: dpmpp(), table: flowSchedule(shiftFlow(insetFlowSigmas(N), 3), cutOff) })],
  [/^UniPC flow/, () => ({ solver: unipc(), table: flowSchedule(belowOne(shiftFlow(openFlowSigmas(N), 3)), cutOff) })],
];

function digit(name: string, at: number): 1 | 2 | 3 {
  return Number(name[at]) as 1 | 2 | 3;
}

function parameterisationOf(name: string): Parameterisation {
  if (name.startsWith('EDM')) return edm();
  if (name.includes('lin epsilon') || name.includes('sd epsilon'))
    return name.includes('zero-snr') ? vPrediction : epsilon;
  return name.includes('v_prediction') ? vPrediction : flow;
}

describe.each(await testEngines())('on %s, trajectories of diffusers, float32 tensors', (engine) => {
  beforeAll(() => switchTo(engine));

  for (const [name, expected] of Object.entries(golden.trajectories as Record<string, Golden>)) {
    test(name, async () => {
      const chain: ChainName = name.includes(' sd ') || name.endsWith(' sd') ? 'sd' : 'lin';
      const setup = setups.find(([pattern]) => pattern.test(name))![1](chain, name);
      const clock = discreteTime(chains[chain]);
      const model = denoiser(dummyNetwork, parameterisationOf(name), { clock });
      const x = dummySample(setup.start);
      // Both sides are float32 with other orders of operations: 1e-5 relative is about 100 roundings. DEIS of order 3
      // takes its weights as differences of float32 numbers and loses a digit more (run in float64 it gives our
      // numbers to 1e-7).
      const tolerance = name.startsWith('DEIS3') ? 2e-5 : 1e-5;
      let compared = 0;
      for await (const step of run(setup.solver, model, x, setup.table, undefined)) {
        // null: theirs divides by h = Infinity in its last step (bh1) and gives nan; ours gives the estimate.
        compared += compareStep(step, expected.steps[(setup.entry ?? ((k) => k))(step.index)]!, tolerance);
      }
      expect(compared).toBeGreaterThanOrEqual(4 * (N - 1));
      x.dispose();
    });
  }
});
