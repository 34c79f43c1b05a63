import { deriveSeed, InvalidArgumentError, type Seed, TorchGenerator } from '@mezzotint/core';
import { nchwToNhwc } from './layout.js';
import type { NoiseSource } from './noise-source.js';

/** The path that noise is taken from. */
export interface BrownianOptions {
  /** Any safe integer; each is another path. */
  readonly seed: Seed;
  /** Smallest and largest noise ratio sigma / alpha of the run, both positive; outside, the path is held. */
  readonly min: number;
  readonly max: number;
  /** The path is known at 2^depth places, evenly in log sigma; 12. */
  readonly depth?: number;
}

/** A node of the tree: the path at one place. */
interface Place {
  readonly sigma: number;
  readonly value: Float32Array;
}

/**
 * Noise from one Brownian path W over sigma: a draw is (W(to) - W(from)) / sqrt|to - from|. The path is fixed by the seed, so
 * that runs with 10 and with 100 steps add up the same randomness, and the picture keeps its character. What k-diffusion and
 * diffusers use torchsde's BrownianTree for (its numbers are other ones).
 *
 * A virtual tree: W at the middle of an interval (in log sigma) is drawn, given its ends, from a stream that the seed and
 * the place in the tree name; nothing is stored but the last few nodes. Two ends closer than a leaf (0.25 % of sigma at the
 * defaults of EDM) get a draw of their own. It has no state to save.
 *
 * @throws InvalidArgumentError when not 0 < min < max
 */
export function brownianNoise({ seed, min, max, depth = 12 }: BrownianOptions): NoiseSource {
  if (!(min > 0 && max > min && Number.isFinite(max))) {
    throw new InvalidArgumentError('brownianNoise', `expected 0 < min < max, got min ${min}, max ${max}`);
  }
  if (!(Number.isInteger(depth) && depth >= 1 && depth <= 24)) {
    throw new InvalidArgumentError('brownianNoise', `depth must be an integer from 1 to 24, got ${depth}`);
  }
  const leaves = 2 ** depth;
  const sigmaAt = (leaf: number) => min * (max / min) ** (leaf / leaves);
  const leafOf = (sigma: number) => {
    const share = Math.log(sigma / min) / Math.log(max / min);
    return Math.min(Math.max(Math.round(share * leaves), 0), leaves);
  };
  const normals = (shape: readonly number[], name: string) =>
    nchwToNhwc(new TorchGenerator(deriveSeed(seed, name)).randn(shape.reduce((n, d) => n * d, 1)), shape);

  // The nodes on the way to the last place asked for; the next is usually near.
  let path: { readonly key: string; readonly place: Place }[] = [];
  let pathShape = '';

  const walk = (shape: readonly number[], leaf: number): Float32Array => {
    if (pathShape !== shape.join()) path = [];
    pathShape = shape.join();
    const next: typeof path = [];
    const node = (key: string, make: () => Place): Place => {
      const place = path.find((entry) => entry.key === key)?.place ?? make();
      next.push({ key, place });
      return place;
    };
    let [low, high] = [0, leaves];
    const zero = () => new Float32Array(shape.reduce((n, d) => n * d, 1));
    let left = node('0', () => ({ sigma: min, value: zero() }));
    let right = node(`${leaves}`, () => ({
      sigma: max,
      value: normals(shape, `${leaves}`).map((z) => z * Math.sqrt(max - min)),
    }));
    while (leaf !== low && leaf !== high) {
      const middle = (low + high) / 2;
      const [a, b] = [left, right];
      const place = node(`${middle}`, () => bridge(a, b, sigmaAt(middle), normals(shape, `${middle}`)));
      if (leaf < middle) {
        high = middle;
        right = place;
      } else {
        low = middle;
        left = place;
      }
    }
    path = next;
    return (leaf === low ? left : right).value;
  };

  return {
    draw(shape, from, to) {
      const [a, b] = [leafOf(from), leafOf(to)];
      if (a === b) return normals(shape, `inside ${a} from ${from} to ${to}`);
      const start = walk(shape, a);
      const end = walk(shape, b);
      const scale = 1 / Math.sqrt(Math.abs(sigmaAt(b) - sigmaAt(a)));
      return end.map((w, i) => (w - start[i]!) * scale);
    },
    save: () => null,
    restore: () => {},
  };
}

/** W at sigma between two known places: mean on the line between them, variance (sigma - a)(b - sigma) / (b - a). */
function bridge(a: Place, b: Place, sigma: number, z: Float32Array): Place {
  const share = (sigma - a.sigma) / (b.sigma - a.sigma);
  const spread = Math.sqrt((sigma - a.sigma) * (1 - share));
  return { sigma, value: z.map((n, i) => a.value[i]! + share * (b.value[i]! - a.value[i]!) + spread * n) };
}
