import { InvalidArgumentError } from '@mezzotint/core';

/**
 * `leading`: 0, s, 2s, ... with s = floor(T / n), noisiest first. DDIM (Song et al. 2021), appendix D.2.
 *
 * @param total T, length of the training process
 * @param steps n
 * @param offset added to each; 1 in Stable Diffusion
 */
export function leadingTimesteps(
  total: number,
  steps: number,
  { offset = 0 }: { readonly offset?: number } = {},
): Float64Array {
  checkSteps('leadingTimesteps', total, steps);
  const stride = Math.floor(total / steps);
  const times = noisiestFirst(steps, (i) => i * stride + offset);
  if (!Number.isInteger(offset) || offset < 0 || times[0]! >= total) {
    throw new InvalidArgumentError(
      'leadingTimesteps',
      `offset ${offset} moves the first time to ${times[0]}; it must be a whole number that keeps it below ${total}`,
    );
  }
  return times;
}

/** How `linspaceTimesteps` ends and rounds. */
export interface LinspaceOptions {
  /** Round to whole indices (halves to even, as NumPy does). */
  readonly whole?: boolean;
  /** Spread over n + 1 points and leave out the last, t = 0: what DPM-Solver and UniPC of diffusers do. */
  readonly dropLast?: boolean;
}

/** `linspace`: n times evenly from T - 1 to 0, both included. */
export function linspaceTimesteps(
  total: number,
  steps: number,
  { whole = true, dropLast = false }: LinspaceOptions = {},
): Float64Array {
  checkSteps('linspaceTimesteps', total, steps);
  const intervals = dropLast ? steps : steps - 1;
  return Float64Array.from({ length: steps }, (_, i) => {
    // As NumPy multiplies, or times halfway between two whole ones would fall to the other side.
    const time = i === 0 ? total - 1 : (intervals - i) * ((total - 1) / intervals);
    return whole ? roundHalfEven(time) : time;
  });
}

/** `trailing`: T, T - T/n, ... rounded, less one; always holds the noisiest time. Lin et al. 2023, table 2. */
export function trailingTimesteps(total: number, steps: number): Float64Array {
  checkSteps('trailingTimesteps', total, steps);
  // NumPy's arange goes on by the difference of its first two numbers.
  const stride = total - (total - total / steps);
  return Float64Array.from({ length: steps }, (_, i) => roundHalfEven(total - i * stride) - 1);
}

/**
 * ADM's respacing. `"250"` spreads 250 times over the forward process, `"10,20,30"` cuts the forward process in three equal sections with
 * 10, 20 and 30 times each, `"ddim25"` takes the whole stride that gives exactly 25. Noisiest first.
 *
 * @throws InvalidArgumentError when the section cannot hold its times or no whole stride gives the count
 */
export function respacedTimesteps(total: number, sections: string): Float64Array {
  const who = 'respacedTimesteps';
  const fixed = /^ddim(\d+)$/.exec(sections);
  if (fixed) {
    const steps = Number(fixed[1]);
    checkSteps(who, total, steps);
    for (let stride = 1; stride <= total; stride++) {
      if (Math.ceil(total / stride) === steps) return noisiestFirst(steps, (i) => i * stride);
    }
    throw new InvalidArgumentError(who, `no whole stride gives ${steps} of ${total} times; try trailingTimesteps`);
  }
  if (!/^\d+(,\d+)*$/.test(sections)) {
    throw new InvalidArgumentError(who, `expected "250", "10,20,30" or "ddim25", got "${sections}"`);
  }
  const counts = sections.split(',').map(Number);
  const times: number[] = [];
  let start = 0;
  counts.forEach((count, section) => {
    const size = Math.floor(total / counts.length) + (section < total % counts.length ? 1 : 0);
    if (count < 1 || count > size) {
      throw new InvalidArgumentError(who, `section ${section} has ${size} times and cannot give ${count}`);
    }
    const stride = count === 1 ? 1 : (size - 1) / (count - 1);
    for (let i = 0; i < count; i++) times.push(start + roundHalfEven(i * stride));
    start += size;
  });
  return Float64Array.from(times.reverse());
}

/** Halves go to the even neighbour, as in NumPy and Python. */
export function roundHalfEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

function noisiestFirst(steps: number, time: (i: number) => number): Float64Array {
  return Float64Array.from({ length: steps }, (_, i) => time(steps - 1 - i));
}

function checkSteps(who: string, total: number, steps: number): void {
  if (!Number.isInteger(steps) || steps < 1 || steps > total) {
    throw new InvalidArgumentError(
      who,
      `steps must be an integer from 1 to ${total} (the training process), got ${steps}`,
    );
  }
}
