import { type NoiseSchedule, type NoiseSource, ratioSchedule, type ScheduleKind } from '@mezzotint/schedulers';

/** Rows of a kind from noise ratio 80 to 0.05, evenly in ratio^(1/7), so that doubling the steps halves every step. */
export function smoothSchedule<K extends ScheduleKind>(kind: K, steps: number): NoiseSchedule<K> {
  return ratioSchedule(kind, smoothRatios(steps));
}

/** The same and then down to a clean picture. */
export function tableToClean<K extends ScheduleKind>(kind: K, steps: number): NoiseSchedule<K> {
  return ratioSchedule(kind, [...smoothRatios(steps - 1), 0]);
}

function smoothRatios(steps: number): number[] {
  const [min, max, rho] = [0.05, 80, 7];
  return Array.from({ length: steps + 1 }, (_, i) => {
    const share = i / steps;
    return (max ** (1 / rho) + share * (min ** (1 / rho) - max ** (1 / rho))) ** rho;
  });
}

/** Noise that is nowhere, and counts how often it was asked for. */
export function noNoise(): NoiseSource & { readonly draws: () => number } {
  let draws = 0;
  return {
    draw(shape) {
      draws++;
      return new Float32Array(size(shape));
    },
    draws: () => draws,
    save: () => draws,
    restore: (state) => {
      draws = state as number;
    },
  };
}

/** Draw k is 1 at element k + 1 and 0 elsewhere: what comes out at that element is the weight of that draw. */
export function oneDrawEach(): NoiseSource {
  let k = 0;
  return {
    draw(shape) {
      const z = new Float32Array(size(shape));
      k++;
      if (k < z.length) z[k] = 1;
      return z;
    },
    save: () => k,
    restore: (state) => {
      k = state as number;
    },
  };
}

/** Noise that is the same every time: draw k is sqrt(2) sin(1.3 j + 2.1 k + 0.5) at element j. */
export function waves(): NoiseSource {
  let k = 0;
  return {
    draw(shape) {
      const z = Float32Array.from({ length: size(shape) }, (_, j) => Math.SQRT2 * Math.sin(1.3 * j + 2.1 * k + 0.5));
      k++;
      return z;
    },
    save: () => k,
    restore: (state) => {
      k = state as number;
    },
  };
}

function size(shape: readonly number[]): number {
  return shape.reduce((n, d) => n * d, 1);
}
