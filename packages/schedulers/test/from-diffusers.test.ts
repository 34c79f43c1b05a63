import { describe, expect, test } from 'vitest';
import { flowMatchSampler, noiseRatio, samplerFromDiffusers, vPrediction } from '../src/index.js';
import { levelAt } from '../src/schedules/schedule.js';
import golden from './fixtures/diffusers.json' with { type: 'json' };

interface GoldenTable {
  readonly timesteps: readonly number[];
  readonly sigmas?: readonly number[];
  readonly init_noise_sigma?: number;
}

/** The settings of Stable Diffusion's scheduler_config.json, some of which each class does not know. */
const sd = {
  _diffusers_version: '0.6.0',
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  num_train_timesteps: 1000,
  trained_betas: null,
  clip_sample: false,
  set_alpha_to_one: false,
  skip_prk_steps: true,
  steps_offset: 1,
};

const configs: readonly (readonly [RegExp, Record<string, unknown>])[] = [
  [/^DDIM SD (leading|linspace|trailing)/, { _class_name: 'DDIMScheduler' }],
  [/^EulerDiscrete SD (leading|linspace|trailing)/, { _class_name: 'EulerDiscreteScheduler' }],
  [
    /^EulerDiscrete SD use_karras/,
    { _class_name: 'EulerDiscreteScheduler', timestep_spacing: 'leading', use_karras_sigmas: true },
  ],
  [
    /^EulerDiscrete SD use_beta/,
    { _class_name: 'EulerDiscreteScheduler', timestep_spacing: 'leading', use_beta_sigmas: true },
  ],
  [/^PNDM SD/, { _class_name: 'PNDMScheduler' }],
  [/^DPM\+\+2M SD karras/, { _class_name: 'DPMSolverMultistepScheduler', use_karras_sigmas: true }],
  [/^DPM\+\+2M SD n/, { _class_name: 'DPMSolverMultistepScheduler' }],
  [/^UniPC SD/, { _class_name: 'UniPCMultistepScheduler' }],
  [/^LMS SD/, { _class_name: 'LMSDiscreteScheduler' }],
];

describe('tables of diffusers, by scheduler_config.json', () => {
  const tables = Object.entries(golden.tables as Record<string, GoldenTable>).flatMap(([name, expected]) => {
    const config = configs.find(([pattern]) => pattern.test(name))?.[1];
    const spacing = /(leading|linspace|trailing)/.exec(name)?.[1];
    return config
      ? [[name, { ...sd, ...(spacing && { timestep_spacing: spacing }), ...config }, expected] as const]
      : [];
  });
  test('every family is there', () => expect(tables.length).toBeGreaterThan(20));

  test.each(tables)('%s', (name, config, { timesteps, sigmas, init_noise_sigma }) => {
    const steps = Number(/n=(\d+)/.exec(name)![1]);
    const sampler = samplerFromDiffusers(config);
    const table = sampler.schedule({ steps: steps });
    // PNDM tells its second time twice: the evaluation that starts it.
    const times = name.startsWith('PNDM') ? [timesteps[0]!, ...timesteps.slice(2)] : [...timesteps];
    expect(table.time!.length).toBe(times.length + 1);
    // float32 tables there; times between rows come from differences of logarithms, which lose two digits.
    times.forEach((time, row) => {
      expect(Math.abs(table.time![row]! - time)).toBeLessThanOrEqual(2e-3);
    });
    sigmas?.forEach((sigma, row) => {
      const ratio = noiseRatio(levelAt(table, row));
      expect(Math.abs(ratio - sigma)).toBeLessThanOrEqual(2e-5 * sigma + 1e-7);
    });
    if (init_noise_sigma !== undefined) {
      expect(Math.abs(sampler.initNoiseSigma(table) / init_noise_sigma - 1)).toBeLessThan(1e-5);
    }
  });
});

test('v-prediction on a chain that ends in pure noise: the first row has no signal, or as little as ve can say', () => {
  const zero = { ...sd, prediction_type: 'v_prediction', rescale_betas_zero_snr: true, timestep_spacing: 'trailing' };
  const ddim = samplerFromDiffusers({ ...zero, _class_name: 'DDIMScheduler' });
  expect(ddim.parameterisation).toBe(vPrediction);
  expect(levelAt(ddim.schedule({ steps: 10 }), 0)).toEqual({ alpha: 0, sigma: 1, time: 999 });
  const euler = samplerFromDiffusers({ ...zero, _class_name: 'EulerDiscreteScheduler' }).schedule({ steps: 10 });
  expect(euler.sigma[0]! / 2 ** 12).toBeCloseTo(1, 6);
});

test('noise at the start of a run of EDM is that of its first row, whose kind another solver may change', () => {
  const edm = samplerFromDiffusers({ _class_name: 'EDMDPMSolverMultistepScheduler' });
  expect(edm.initNoiseSigma(edm.schedule({ steps: 5 }))).toBeCloseTo(Math.hypot(80, 1), 10); // init_noise_sigma of diffusers
  const karras = edm.withSolver('dpmpp-2m', { sigmas: 'karras' });
  const table = karras.schedule({ steps: 5 });
  const { alpha, sigma } = levelAt(table, 0);
  expect(karras.initNoiseSigma(table)).toBe(Math.hypot(alpha, sigma));
  expect(table.kind).toBe('vp');
  expect(karras.initNoiseSigma(table)).toBeCloseTo(1, 6);
});

test('a flow model that shifts by its tokens ends at the class’s max_shift where its file does not say it', () => {
  const timesOf = (more: object) =>
    flowMatchSampler({ _class_name: 'FlowMatchEulerDiscreteScheduler', use_dynamic_shifting: true, ...more }).schedule({
      ...{ steps: 4, tokens: 4096 },
    }).time;
  expect(timesOf({})).toEqual(timesOf({ max_shift: 1.15 }));
  expect(timesOf({})).not.toEqual(timesOf({ max_shift: 1.16 }));
});

test('estimates are clipped where the class does so', () => {
  const limitOf = (json: Record<string, unknown>) => samplerFromDiffusers(json).limit;
  expect(limitOf({ _class_name: 'DDIMScheduler' })).toEqual({ kind: 'clip', range: 1 });
  expect(limitOf({ ...sd, _class_name: 'DDIMScheduler' })).toBe(null);
  expect(limitOf({ clip_sample: true, _class_name: 'EulerDiscreteScheduler' })).toBe(null);
  const threshold = { thresholding: true, sample_max_value: 2, _class_name: 'UniPCMultistepScheduler' };
  expect(limitOf(threshold)).toEqual({ kind: 'threshold', quantile: 0.995, max: 2 });
});

test('what we do not build is named, all of it', () => {
  expect(() => samplerFromDiffusers({ _class_name: 'MagicScheduler' })).toThrowError(
    /expected one of DDIMScheduler.*"MagicScheduler"/,
  );
  expect(() => samplerFromDiffusers([])).toThrowError(/JSON object/);
  const read = () =>
    samplerFromDiffusers({
      ...sd,
      _class_name: 'EulerDiscreteScheduler',
      prediction_type: 'magic',
      beta_schedule: 3,
      trained_betas: [1],
    });
  expect(read).toThrowError(
    /prediction_type: expected "epsilon" or[\s\S]*beta_schedule[\s\S]*trained_betas: expected 1000 numbers/,
  );
  expect(() =>
    samplerFromDiffusers({ ...sd, _class_name: 'DPMSolverMultistepScheduler', solver_order: 4, use_flow_sigmas: true }),
  ).toThrowError(/use_flow_sigmas[\s\S]*solver_order: expected 1 or 2 or 3, got 4/);
});

test("DEIS ends at the chain's first row, whatever final_sigmas_type says, as diffusers' does", () => {
  const table = samplerFromDiffusers({ ...sd, _class_name: 'DEISMultistepScheduler' }).schedule({ steps: 10 });
  const last = table.sigma.length - 1;
  // sigma of row 0 of Stable Diffusion's chain: the root of beta_0 = 0.00085, in float32.
  expect(table.sigma[last]!).toBeCloseTo(Math.sqrt(0.00085), 6);
  const spread = samplerFromDiffusers({
    ...sd,
    _class_name: 'DEISMultistepScheduler',
    use_karras_sigmas: true,
  }).schedule({ steps: 10 });
  expect(spread.sigma[last]).toBe(spread.sigma[last - 1]);
});

test('what diffusers does and nobody wants is refused, with what to do', () => {
  const ddim = (timestep_spacing: string) =>
    samplerFromDiffusers({ ...sd, timestep_spacing, _class_name: 'DDIMScheduler' });
  // NumPy's linspace of one number is its start, so that one step would begin where no noise is left.
  expect(() => ddim('linspace').schedule({ steps: 1 })).toThrowError(
    /one step of timestep_spacing linspace.*take 2 steps or more/,
  );
  expect(ddim('linspace').schedule({ steps: 2 }).time![0]).toBe(999);
  // NumPy's arange makes 62 numbers of 61 here, by a rounding.
  expect(() => ddim('trailing').schedule({ steps: 61 })).toThrowError(
    /61 steps of timestep_spacing trailing.*take another number/,
  );
  expect(ddim('trailing').schedule({ steps: 62 }).time!.length).toBe(63);
});

test('settings that a class does not have are left out, as diffusers does', () => {
  const table = (json: object) => [...samplerFromDiffusers({ ...sd, ...json }).schedule({ steps: 5 }).sigma];
  for (const name of ['PNDM', 'LMSDiscrete', 'DEISMultistep', 'HeunDiscrete']) {
    const plain = { _class_name: `${name}Scheduler`, prediction_type: 'v_prediction' };
    expect(table({ ...plain, rescale_betas_zero_snr: true, lambda_min_clipped: -1 })).toEqual(table(plain));
  }
  // Karras levels take sigma_min and sigma_max wherever they are in the file, except in LMS.
  const karras = { use_karras_sigmas: true, sigma_min: 0.1, sigma_max: 9 };
  const heun = table({ ...karras, _class_name: 'HeunDiscreteScheduler' });
  expect(heun[0]).toBeCloseTo(9, 5);
  expect(heun.at(-2)).toBeCloseTo(0.1, 5);
  expect(table({ ...karras, _class_name: 'LMSDiscreteScheduler' })[0]).toBeCloseTo(14.61, 1);
});
