import {
  ddim,
  ddpm,
  deis,
  dpm2,
  dpm2Ancestral,
  dpmpp,
  dpmpp2m,
  dpmppSde,
  dpmppSinglestep,
  dpmSolver,
  dpmSolverSinglestep,
  edict,
  edictInverse,
  edmStochastic,
  euler,
  eulerAncestral,
  flowHeun,
  heun,
  lms,
  type ScheduleKind,
  type Solver,
  type State,
  saSolver,
  trace,
  unipc,
} from '@mezzotint/schedulers';
import { expect, test } from 'vitest';
import { assertConforms, checkSame, claimsOf, report, tableToClean, threePeaks } from '../src/index.js';

type Pair = readonly [
  string,
  Solver<ScheduleKind, 'estimate'>,
  Solver<ScheduleKind, 'estimate'>,
  (readonly ScheduleKind[])?,
];
const all = ['vp', 've', 'flow'] as const;

const laws: readonly Pair[] = [
  ['DDIM(0) is Euler', ddim(), euler(), all],
  ['Euler ancestral with eta 0 is Euler', eulerAncestral({ eta: 0 }), euler()],
  ['Euler ancestral with eta 1 is DDPM', eulerAncestral(), ddpm()],
  ['DDIM(1) is DDPM', ddim({ eta: 1 }), ddpm()],
  ['DPM-Solver++ of order 1 is DDIM', dpmpp({ order: 1 }), ddim(), all],
  ['DPM-Solver of order 1 is DDIM', dpmSolver({ order: 1 }), ddim()],
  ['the singlestep kinds of order 1 are DDIM', dpmppSinglestep({ order: 1 }), dpmSolverSinglestep({ order: 1 })],
  ['SDE-DPM-Solver++ of order 1 is DDPM', dpmppSde({ order: 1 }), ddpm()],
  ['SDE-DPM-Solver++(2M) with eta 0 is DPM-Solver++(2M)', dpmppSde({ eta: 0 }), dpmpp2m()],
  ['DEIS of order 1 is DDIM', deis({ order: 1 }), ddim()],
  ['UniPC of order 1 without its corrector is DDIM', unipc({ order: 1, corrector: false }), ddim(), all],
  ['LMS of order 1 is Euler', lms({ order: 1 }), euler()],
  [
    'SA-Solver without noise, order 1, is DDIM',
    saSolver({ tau: () => 0, predictorOrder: 1, correctorOrder: 0 }),
    ddim(),
  ],
  ['DPM2 ancestral with eta 0 is DPM2', dpm2Ancestral({ eta: 0 }), dpm2()],
  ['the EDM sampler without churn is Heun', edmStochastic({ churn: 0 }), heun()],
];

for (const [name, a, b, kinds] of laws) {
  test(name, async () => {
    const check = await checkSame(name, claimsOf(a).integrate, claimsOf(b).integrate, kinds ? { kinds } : {});
    assertConforms(report('schedulers', [check]));
  });
}

test('what is not the same is seen: Heun is not Euler', async () => {
  const check = await checkSame('no law', claimsOf(flowHeun()).integrate, claimsOf(euler()).integrate, {
    kinds: ['flow'],
  });
  expect(check.passed).toBe(false);
});

test('EDICT undoes itself exactly', () => {
  const table = tableToClean('vp', 8);
  const picture = Float64Array.from([-1.1, -0.4, 0.3, 0.9]);
  let state: State<Float64Array> = { x: picture, memory: [], numbers: [] };
  for (const step of trace(edictInverse(), threePeaks.denoise, picture, table)) state = step;
  const start = state;
  for (const step of trace(edict(), threePeaks.denoise, start, table)) state = step;
  // Each inverse step divides by the mixing 0.93 twice: 8 steps lose a digit of 16, noises of size 100 two more.
  for (const [i, v] of picture.entries()) expect(Math.abs(state.x[i]! - v)).toBeLessThan(1e-9);
});
