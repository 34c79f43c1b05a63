import { type Initializer, Module, ones, Param, uniform, zeros } from '@mezzotint/core';
import { causalConv1d, Linear, RmsNorm, selectiveScan, silu, ssd } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import type { ZigMaConfig } from './zigma-config.js';

/** What {@link Mamba} takes of a configuration: its sizes, how tokens are scanned, and the depth that its last map is scaled by. */
export type MambaConfig = Pick<ZigMaConfig, 'width' | 'expansion' | 'states' | 'taps' | 'scan' | 'depth'>;

/** Mixes tokens in their order: `[N, T, D] -> [N, T, D]`. */
export interface Mixer extends Module {
  forward(x: tf.Tensor3D): tf.Tensor3D;
}

/** A convolution of each channel over time, with PyTorch's initial values. */
class TimeConv extends Module {
  readonly weight: Param;
  readonly bias: Param;

  constructor(channels: number, taps: number) {
    super();
    const init = uniform(1 / Math.sqrt(taps));
    this.weight = new Param([channels, 1, taps], { init });
    this.bias = new Param([channels], { init });
  }

  forward(x: tf.Tensor3D): tf.Tensor3D {
    return causalConv1d(x, this.weight.value, this.bias.value);
  }
}

/** What one direction of {@link Mamba} has. */
interface Direction {
  readonly conv: TimeConv;
  readonly xProj: Linear;
  readonly dtProj: Linear;
  readonly aLog: Param;
  readonly d: Param;
}

/**
 * Mamba (Gu and Dao 2023, section 3.4 and figure 3): [x, z] = W h; x = silu(conv(x)); [delta, B, C] = W' x, a selective scan of x
 * with its skip D x, times silu(z), and a map out. Backwards too, with weights of its own and the same maps in and out, where both
 * directions are scanned (Zhu et al. 2024, Vision Mamba). `[N, T, D] -> [N, T, D]`.
 */
export class Mamba extends Module implements Mixer {
  readonly in_proj: Linear;
  readonly conv1d: TimeConv;
  readonly x_proj: Linear;
  readonly dt_proj: Linear;
  readonly A_log: Param;
  readonly D: Param;
  readonly conv1d_b?: TimeConv;
  readonly x_proj_b?: Linear;
  readonly dt_proj_b?: Linear;
  readonly A_b_log?: Param;
  readonly D_b?: Param;
  readonly out_proj: Linear;
  readonly rank: number;
  readonly states: number;

  constructor({ width, expansion, states, taps, scan, depth }: MambaConfig) {
    super();
    const inner = expansion * width;
    this.rank = Math.ceil(width / 16);
    this.states = states;
    this.in_proj = new Linear(width, 2 * inner, { bias: false });
    const direction = () => ({
      conv: new TimeConv(inner, taps),
      xProj: new Linear(inner, this.rank + 2 * states, { bias: false }),
      aLog: new Param([inner, states], { init: logOfPlaces }),
      d: new Param([inner], { init: ones }),
    });
    const forwards = direction();
    this.conv1d = forwards.conv;
    this.x_proj = forwards.xProj;
    this.dt_proj = new Linear(this.rank, inner, { init: uniform(this.rank ** -0.5), biasInit: steps });
    this.A_log = forwards.aLog;
    this.D = forwards.d;
    if (scan === 'bidirectional') {
      const backwards = direction();
      this.conv1d_b = backwards.conv;
      this.x_proj_b = backwards.xProj;
      // The original draws the steps of the first direction only.
      this.dt_proj_b = new Linear(this.rank, inner, { biasInit: zeros });
      this.A_b_log = backwards.aLog;
      this.D_b = backwards.d;
    }
    this.out_proj = mapOut(inner, width, depth);
  }

  forward(h: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => {
      const [x, z] = tf.split(this.in_proj.forward(h), 2, 2) as [tf.Tensor3D, tf.Tensor3D]; // [N, T, E]
      const { conv1d, x_proj, dt_proj, A_log, D } = this;
      let y = this.scanned(x, z, { conv: conv1d, xProj: x_proj, dtProj: dt_proj, aLog: A_log, d: D });
      if (this.conv1d_b) {
        const [conv, xProj, dtProj] = [this.conv1d_b, this.x_proj_b!, this.dt_proj_b!];
        const back = { conv, xProj, dtProj, aLog: this.A_b_log!, d: this.D_b! };
        y = tf.add(y, tf.reverse(this.scanned(tf.reverse(x, 1), tf.reverse(z, 1), back), 1));
      }
      return this.out_proj.forward(y);
    });
  }

  /** One direction: `[N, T, E] -> [N, T, E]`. */
  private scanned(before: tf.Tensor3D, z: tf.Tensor3D, { conv, xProj, dtProj, aLog, d }: Direction): tf.Tensor3D {
    const { rank, states } = this;
    const x = silu(conv.forward(before)); //                                          [N, T, E]
    const [low, b, c] = tf.split(xProj.forward(x), [rank, states, states], 2) as tf.Tensor3D[];
    const delta = tf.softplus(dtProj.forward(low!)); //                               [N, T, E]
    const a = tf.neg(tf.exp(aLog.value)) as tf.Tensor2D; //                           [E, S]
    const { y } = selectiveScan(x, delta, a, b!, c!);
    return tf.mul(tf.add(y, tf.mul(x, d.value)), silu(z));
  }
}

/** What one direction of {@link Mamba2} has. */
interface Direction2 {
  readonly conv: TimeConv;
  readonly dtBias: Param;
  readonly aLog: Param;
  readonly d: Param;
}

/**
 * Mamba-2 (Dao and Gu 2024, section 7 and figure 6): [z, x, B, C, delta] = W h at once; one decay, step and skip a head; norm(y
 * silu(z)) before the map out. `[N, T, D] -> [N, T, D]`.
 */
export class Mamba2 extends Module implements Mixer {
  readonly in_proj: Linear;
  readonly conv1d: TimeConv;
  readonly dt_bias: Param;
  readonly A_log: Param;
  readonly D: Param;
  readonly conv1d_b?: TimeConv;
  readonly dt_bias_b?: Param;
  readonly A_b_log?: Param;
  readonly D_b?: Param;
  readonly norm: RmsNorm;
  readonly out_proj: Linear;
  readonly heads: number;
  readonly states: number;

  constructor({ width, expansion, states, taps, scan, depth, headWidth }: ZigMaConfig) {
    super();
    const inner = expansion * width;
    this.heads = inner / headWidth!;
    this.states = states;
    this.in_proj = new Linear(width, 2 * inner + 2 * states + this.heads, { bias: false });
    const direction = () => ({
      conv: new TimeConv(inner + 2 * states, taps),
      dtBias: new Param([this.heads], { init: steps }),
      aLog: new Param([this.heads], { init: logOfUniform }),
      d: new Param([this.heads], { init: ones }),
    });
    const forwards = direction();
    this.conv1d = forwards.conv;
    this.dt_bias = forwards.dtBias;
    this.A_log = forwards.aLog;
    this.D = forwards.d;
    if (scan === 'bidirectional') {
      const backwards = direction();
      this.conv1d_b = backwards.conv;
      this.dt_bias_b = backwards.dtBias;
      this.A_b_log = backwards.aLog;
      this.D_b = backwards.d;
    }
    this.norm = new RmsNorm(inner, { epsilon: 1e-5 });
    this.out_proj = mapOut(inner, width, depth);
  }

  forward(h: tf.Tensor3D): tf.Tensor3D {
    return tf.tidy(() => {
      const inner = this.norm.weight!.size;
      const sizes = [inner, inner + 2 * this.states, this.heads];
      const [z, xbc, low] = tf.split(this.in_proj.forward(h), sizes, 2) as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D];
      const { conv1d, dt_bias, A_log, D } = this;
      let y = this.scanned(xbc, low, { conv: conv1d, dtBias: dt_bias, aLog: A_log, d: D });
      if (this.conv1d_b) {
        const back = { conv: this.conv1d_b, dtBias: this.dt_bias_b!, aLog: this.A_b_log!, d: this.D_b! };
        y = tf.add(y, tf.reverse(this.scanned(tf.reverse(xbc, 1), tf.reverse(low, 1), back), 1));
      }
      return this.out_proj.forward(this.norm.forward(tf.mul(y, silu(z))));
    });
  }

  /** One direction: xBC `[N, T, E + 2 S]`, delta before its softplus `[N, T, h] -> [N, T, E]`. */
  private scanned(xbc: tf.Tensor3D, low: tf.Tensor3D, { conv, dtBias, aLog, d }: Direction2): tf.Tensor3D {
    const { heads, states } = this;
    const [n, length, channels] = xbc.shape;
    const inner = channels - 2 * states;
    const convolved = silu(conv.forward(xbc));
    const [x, b, c] = tf.split(convolved, [inner, states, states], 2) as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D];
    const delta = tf.softplus(tf.add(low, dtBias.value)) as tf.Tensor3D; //           [N, T, h]
    const byHead = tf.reshape(x, [n, length, heads, inner / heads]) as tf.Tensor4D;
    const group = (t: tf.Tensor3D) => tf.expandDims(t, 2) as tf.Tensor4D; //          [N, T, 1, S]
    const { y } = ssd(byHead, delta, tf.neg(tf.exp(aLog.value)) as tf.Tensor1D, group(b), group(c));
    const skip = tf.mul(byHead, tf.reshape(d.value, [heads, 1]));
    return tf.reshape(tf.add(y, skip), [n, length, inner]);
  }
}

/** log(1), log(2), ... over the states of each channel (S4D-real; Mamba, section 3.6). */
const logOfPlaces: Initializer = ([channels, states]) =>
  Float32Array.from({ length: channels! * states! }, (_, i) => Math.log((i % states!) + 1));

/** log of a uniform number in [1, 16] (Mamba-2's initial decays). */
const logOfUniform: Initializer = ([heads], rng) => rng.rand(heads!).map((u) => Math.log(1 + 15 * u));

/** The softplus's inverse of steps that are log-uniform in [0.001, 0.1] (Mamba, section 3.6). */
const steps: Initializer = ([channels], rng) =>
  rng.rand(channels!).map((u) => {
    const step = Math.max(Math.exp(Math.log(0.001) + u * Math.log(100)), 1e-4);
    return step + Math.log(-Math.expm1(-step));
  });

/** The map out of a mixer, smaller the deeper the network. */
function mapOut(inner: number, width: number, depth: number): Linear {
  return new Linear(inner, width, { bias: false, init: uniform(1 / Math.sqrt(inner * depth)) });
}
