import { describe, expect, test } from 'vitest';
import { continuousFamilies } from '../src/diffusers/continuous.js';
import { families } from '../src/diffusers/families.js';
import { flowMatchDefaults } from '../src/diffusers/flow-match.js';
import golden from './fixtures/reference-defaults.json' with { type: 'json' };

const classes = golden.classes as unknown as Readonly<Record<string, Readonly<Record<string, unknown>>>>;
const ours = (name: string): Readonly<Record<string, unknown>> =>
  families[name]?.defaults ?? continuousFamilies[name]?.defaults ?? flowMatchDefaults[name]!;

/** Settings of a class that we do not read as such, since they change no number. */
function withoutEffect(name: string, key: string): boolean {
  // Read from the file whether a class has them or not, as diffusers does.
  if (key === 'sigma_min' || key === 'sigma_max') return true;
  // They count with use_flow_sigmas only, which is refused.
  if (['flow_shift', 'time_shift_type', 'use_dynamic_shifting'].includes(key)) return true;
  // diffusers takes deis and logrho whatever a file says.
  if (name === 'DEISMultistepScheduler') return ['algorithm_type', 'solver_type'].includes(key);
  // Their step() takes neither, and their times are those of the distillation.
  const distilled = ['set_alpha_to_one', 'steps_offset', 'timestep_spacing'];
  if (name === 'LCMScheduler') return distilled.includes(key);
  const limits = ['clip_sample', 'clip_sample_range', 'thresholding', 'dynamic_thresholding_ratio', 'sample_max_value'];
  return name === 'TCDScheduler' && [...distilled, ...limits, 'timestep_scaling'].includes(key);
}

// A setting that scheduler_config.json does not carry is the class's default, whatever wrote the file.
describe('the settings of diffusers’ schedulers and their defaults are those of the signatures', () => {
  test.each(Object.keys(classes))('%s', (name) => {
    const read = ours(name);
    const theirs = classes[name]!;
    expect(read).toEqual(Object.fromEntries(Object.keys(read).map((key) => [key, theirs[key]])));
    const unread = Object.keys(theirs).filter((key) => !Object.hasOwn(read, key));
    expect(unread.filter((key) => !withoutEffect(name, key))).toEqual([]);
  });
  test('every class that is read is compared', () => {
    const read = [...Object.keys(families), ...Object.keys(continuousFamilies), ...Object.keys(flowMatchDefaults)];
    expect(read.sort()).toEqual(Object.keys(classes).sort());
  });
});
