import { TorchGenerator } from '@mezzotint/random';

/** A weighted Gaussian in the plane. */
export interface Component {
  readonly weight: number;
  readonly mean: readonly [number, number];
  /** xx, xy, yy. */
  readonly covariance: readonly [number, number, number];
  /** The branch that it lies on. */
  readonly branch: number;
}

/** A mixture of Gaussians, whose density and score are known at every noise level. */
export type Mixture = readonly Component[];

const levels = 7;
const perBranch = 8;

/**
 * A class of the toy of the autoguidance paper, rebuilt from its description (Karras et al. 2024, arXiv 2406.02507, section 3): a
 * tree of branches that split in two at each of seven levels, each branch shorter and thinner than the one before and made of eight
 * anisotropic Gaussians: 127 branches, 1016 Gaussians. Low-dimensional structure at every scale, as natural images have.
 */
export function tree(angle: number, seed: number): Mixture {
  const rng = new TorchGenerator(seed);
  const components: Component[] = [];
  let branch = 0;
  const grow = (x: number, y: number, direction: number, level: number): void => {
    if (level === levels) return;
    const length = 0.62 * 0.72 ** level;
    const [along, across] = [(0.5 * length) / perBranch, 0.035 * 0.8 ** level];
    const [c, s] = [Math.cos(direction), Math.sin(direction)];
    for (let i = 0; i < perBranch; i++) {
      const at = ((i + 0.5) / perBranch) * length;
      components.push({
        weight: 0.8 ** level / 2 ** level,
        mean: [x + at * c, y + at * s],
        covariance: [
          (along * c) ** 2 + (across * s) ** 2,
          (along ** 2 - across ** 2) * c * s,
          (along * s) ** 2 + (across * c) ** 2,
        ],
        branch,
      });
    }
    branch += 1;
    for (const side of [-1, 1]) {
      const turn = side * (0.35 + 0.35 * rng.rand(1)[0]!);
      grow(x + length * c, y + length * s, direction + turn, level + 1);
    }
  };
  grow(0, 0, angle, 0);
  const total = components.reduce((sum, { weight }) => sum + weight, 0);
  return components.map((component) => ({ ...component, weight: component.weight / total }));
}

/** Both classes, moved and scaled together to mean 0 and a deviation of 0.5 along each axis. */
export function twoClasses(): { readonly a: Mixture; readonly b: Mixture; readonly both: Mixture } {
  const [a, b] = [tree(0.4, 2), tree(0.4 + Math.PI, 3)];
  const all = [...a, ...b].map((component) => ({ ...component, weight: component.weight / 2 }));
  const mean = [0, 1].map((axis) => all.reduce((sum, { weight, mean }) => sum + weight * mean[axis]!, 0));
  const scale = [0, 1].map((axis) => {
    const second = (c: Component) => c.covariance[2 * axis]! + (c.mean[axis]! - mean[axis]!) ** 2;
    return 0.5 / Math.sqrt(all.reduce((sum, c) => sum + c.weight * second(c), 0));
  });
  const moved = (mixture: Mixture): Mixture =>
    mixture.map(({ mean: m, covariance: [xx, xy, yy], ...rest }) => ({
      ...rest,
      mean: [(m[0] - mean[0]!) * scale[0]!, (m[1] - mean[1]!) * scale[1]!],
      covariance: [xx * scale[0]! ** 2, xy * scale[0]! * scale[1]!, yy * scale[1]! ** 2],
    }));
  return { a: moved(a), b: moved(b), both: moved(all) };
}

/** Points of a mixture, `[N, 2]` row by row. */
export function drawPoints(mixture: Mixture, count: number, rng: TorchGenerator): Float32Array {
  let sum = 0;
  const steps = mixture.map(({ weight }) => (sum += weight));
  const [u, z] = [rng.rand(count), rng.randn(2 * count)];
  const points = new Float32Array(2 * count);
  for (let n = 0; n < count; n++) {
    let [low, high] = [0, steps.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle]! < u[n]! * sum) low = middle + 1;
      else high = middle;
    }
    const { mean, covariance } = mixture[low]!;
    const [xx, xy, yy] = covariance;
    const first = Math.sqrt(xx); // the Cholesky factor
    const cross = xy / first;
    points[2 * n] = mean[0] + first * z[2 * n]!;
    points[2 * n + 1] = mean[1] + cross * z[2 * n]! + Math.sqrt(Math.max(yy - cross ** 2, 0)) * z[2 * n + 1]!;
  }
  return points;
}

/** What a mixture with noise N(0, sigma^2) says of a point. */
export interface Analysis {
  readonly logDensity: number;
  /** Gradient of the log density. */
  readonly score: readonly [number, number];
  /** The branch that it most likely belongs to. */
  readonly branch: number;
}

/** Log density, score and branch of a point under the mixture blurred by noise of deviation sigma. */
export function analyse(mixture: Mixture, x: number, y: number, sigma: number): Analysis {
  const logs = new Float64Array(mixture.length);
  const gradients = new Float64Array(2 * mixture.length);
  let largest = Number.NEGATIVE_INFINITY;
  let branch = 0;
  mixture.forEach(({ weight, mean, covariance, branch: own }, i) => {
    const [xx, xy, yy] = [covariance[0] + sigma ** 2, covariance[1], covariance[2] + sigma ** 2];
    const determinant = xx * yy - xy * xy;
    const [dx, dy] = [x - mean[0], y - mean[1]];
    const gx = -(yy * dx - xy * dy) / determinant;
    const gy = -(xx * dy - xy * dx) / determinant;
    const log = Math.log(weight / (2 * Math.PI)) - 0.5 * Math.log(determinant) + 0.5 * (gx * dx + gy * dy);
    logs[i] = log;
    gradients[2 * i] = gx;
    gradients[2 * i + 1] = gy;
    if (log > largest) {
      largest = log;
      branch = own;
    }
  });
  let [sum, sx, sy] = [0, 0, 0];
  logs.forEach((log, i) => {
    const p = Math.exp(log - largest);
    sum += p;
    sx += p * gradients[2 * i]!;
    sy += p * gradients[2 * i + 1]!;
  });
  return { logDensity: largest + Math.log(sum), score: [sx / sum, sy / sum], branch };
}
