import {
  asWeightSource,
  choiceProblems,
  countProblems,
  type Initializer,
  Module,
  normal,
  type OtherArchitecture,
  ones,
  Param,
  type Preset,
  renamed,
  throwIf,
  type WeightSource,
  zeros,
} from '@mezzotint/core';
import { conv2d, Linear, linear } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import type { FeatureNetwork, FeatureNetworkRecord } from './feature-network.js';
import { asColour, pillowBicubic, resizeImages, tensorflow1Bilinear, torchBilinear } from './resize.js';

/** Configuration of {@link InceptionV3}. A plain JSON value. */
export interface InceptionConfig {
  /** 1008 in the network of FID, 1000 in torchvision's. */
  readonly classes: number;
  /**
   * `tensorflow`: average pools leave the padding out and Mixed_7c pools by maximum, as in the graph that FID is defined by;
   * `torchvision`: average pools count the padding and Mixed_7c averages.
   */
  readonly pooling: 'tensorflow' | 'torchvision';
}

/** Side of the pictures that the network was trained on. */
const SIDE = 299;

/**
 * Inception v3. C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2015), table 1. State: the names
 * of torchvision's class, which the published FID weights have too (`Conv2d_1a_3x3.conv.weight`, ..., `fc.bias`).
 */
export class InceptionV3 extends Module {
  readonly config: InceptionConfig;
  readonly Conv2d_1a_3x3: ConvNorm;
  readonly Conv2d_2a_3x3: ConvNorm;
  readonly Conv2d_2b_3x3: ConvNorm;
  readonly Conv2d_3b_1x1: ConvNorm;
  readonly Conv2d_4a_3x3: ConvNorm;
  readonly Mixed_5b: MixedA;
  readonly Mixed_5c: MixedA;
  readonly Mixed_5d: MixedA;
  readonly Mixed_6a: MixedB;
  readonly Mixed_6b: MixedC;
  readonly Mixed_6c: MixedC;
  readonly Mixed_6d: MixedC;
  readonly Mixed_6e: MixedC;
  readonly Mixed_7a: MixedD;
  readonly Mixed_7b: MixedE;
  readonly Mixed_7c: MixedE;
  readonly fc: Linear;

  /** @throws InvalidArgumentError with everything that is wrong with the configuration */
  constructor(config: InceptionConfig) {
    super();
    const { classes, pooling } = config;
    throwIf('InceptionV3', [
      ...countProblems({ classes }),
      ...choiceProblems('pooling', pooling, ['tensorflow', 'torchvision']),
    ]);
    this.config = config;
    const average = pooling === 'tensorflow' ? averageInside : averageWithPadding;
    this.Conv2d_1a_3x3 = new ConvNorm(3, 32, [3, 3], { stride: 2 });
    this.Conv2d_2a_3x3 = new ConvNorm(32, 32, [3, 3]);
    this.Conv2d_2b_3x3 = new ConvNorm(32, 64, [3, 3], { pad: true });
    this.Conv2d_3b_1x1 = new ConvNorm(64, 80, [1, 1]);
    this.Conv2d_4a_3x3 = new ConvNorm(80, 192, [3, 3]);
    this.Mixed_5b = new MixedA(192, 32, average);
    this.Mixed_5c = new MixedA(256, 64, average);
    this.Mixed_5d = new MixedA(288, 64, average);
    this.Mixed_6a = new MixedB(288);
    this.Mixed_6b = new MixedC(128, average);
    this.Mixed_6c = new MixedC(160, average);
    this.Mixed_6d = new MixedC(160, average);
    this.Mixed_6e = new MixedC(192, average);
    this.Mixed_7a = new MixedD(768);
    this.Mixed_7b = new MixedE(1280, average);
    this.Mixed_7c = new MixedE(2048, pooling === 'tensorflow' ? largestInside : average);
    this.fc = new Linear(2048, classes);
  }

  /**
   * The feature maps after the first and the second max pooling, after Mixed_6e and after Mixed_7c: 64, 192, 768 and 2048
   * channels; 73, 35, 17 and 8 pixels a side for pictures of 299.
   *
   * @param x pictures in [-1, 1], `[N, H, W, 3]`, sides of at least 75
   */
  maps(x: tf.Tensor4D): [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D, tf.Tensor4D] {
    const fits = x.rank === 4 && x.shape[3] === 3 && Math.min(x.shape[1], x.shape[2]) >= 75;
    throwIf('InceptionV3', fits ? [] : [`x: expected [N, H, W, 3] with sides of at least 75, got [${x.shape}]`]);
    return tf.tidy(() => {
      const stem = through(x, this.Conv2d_1a_3x3, this.Conv2d_2a_3x3, this.Conv2d_2b_3x3); // [N, 147, 147, 64]
      const first = tf.maxPool(stem, 3, 2, 'valid'); //                                       [N, 73, 73, 64]
      const wide = through(first, this.Conv2d_3b_1x1, this.Conv2d_4a_3x3); //                 [N, 71, 71, 192]
      const second = tf.maxPool(wide, 3, 2, 'valid'); //                                      [N, 35, 35, 192]
      const five = through(second, this.Mixed_5b, this.Mixed_5c, this.Mixed_5d); //           [N, 35, 35, 288]
      const six = [this.Mixed_6a, this.Mixed_6b, this.Mixed_6c, this.Mixed_6d, this.Mixed_6e];
      const third = through(five, ...six); //                                                 [N, 17, 17, 768]
      const last = through(third, this.Mixed_7a, this.Mixed_7b, this.Mixed_7c); //            [N, 8, 8, 2048]
      return [first, second, third, last];
    });
  }

  /** The means of the 2048 channels of Mixed_7c, `[N, 2048]`: the features of FID. x as in {@link maps}. */
  forward(x: tf.Tensor4D): tf.Tensor2D {
    return tf.tidy(() => tf.mean(this.maps(x)[3], [1, 2]) as tf.Tensor2D);
  }

  /** Logits `[N, classes]` of features `[N, 2048]`, without the bias unless asked: the inception score leaves it out. */
  logits(features: tf.Tensor2D, { bias = false }: { readonly bias?: boolean } = {}): tf.Tensor2D {
    return linear(features, this.fc.weight.value, bias ? this.fc.bias!.value : null);
  }

  /** Leaves out the auxiliary classifier and the counters of training steps of torchvision's file. */
  override adaptWeights(source: WeightSource): WeightSource {
    return renamed(source, (name) => (/^AuxLogits\.|\.num_batches_tracked$/.test(name) ? undefined : name));
  }
}

type Block = { forward(x: tf.Tensor4D): tf.Tensor4D };
type Pool = (x: tf.Tensor4D) => tf.Tensor4D;

/** Blocks one after another. */
function through(x: tf.Tensor4D, ...blocks: readonly Block[]): tf.Tensor4D {
  return blocks.reduce((h, block) => block.forward(h), x);
}

const averageInside: Pool = (x) => tf.avgPool(x, 3, 1, 'same'); // divides by the pixels inside of the picture
const largestInside: Pool = (x) => tf.maxPool(x, 3, 1, 'same');
const averageWithPadding: Pool = (x) => {
  const around = [1, 1] as [number, number];
  return tf.avgPool(tf.pad(x, [[0, 0], around, around, [0, 0]]), 3, 1, 'valid');
};

/** N(0, 2 / fanIn), for a network without weights from a file. */
const heNormal: Initializer = (shape, rng) => normal(Math.sqrt(2 / (shape[0]! * shape[1]! * shape[2]!)))(shape, rng);

/** relu(scale conv(x) + shift), the scale and the shift of a batch norm with fixed statistics. `[N, H, W, C]` both. */
class ConvNorm extends Module {
  readonly conv: { readonly weight: Param };
  readonly bn: Readonly<Record<'weight' | 'bias' | 'running_mean' | 'running_var', Param>>;
  readonly stride: 1 | 2;
  readonly pad: boolean;

  constructor(
    inputs: number,
    outputs: number,
    [height, width]: readonly [number, number],
    { stride = 1, pad = false }: { readonly stride?: 1 | 2; readonly pad?: boolean } = {},
  ) {
    super();
    const fixed = (init: Initializer) => new Param([outputs], { init, trainable: false });
    this.conv = {
      weight: new Param([height, width, inputs, outputs], { init: heNormal, layout: 'conv2d', trainable: false }),
    };
    const measured = (init: Initializer) => new Param([outputs], { init, buffer: true });
    this.bn = { weight: fixed(ones), bias: fixed(zeros), running_mean: measured(zeros), running_var: measured(ones) };
    this.stride = stride;
    this.pad = pad;
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const { weight, bias, running_mean, running_var } = this.bn;
      const scale = tf.div(weight.value, tf.sqrt(tf.add(running_var.value, 1e-3)));
      const shift = tf.sub(bias.value, tf.mul(running_mean.value, scale));
      const padding = this.pad ? 'same' : 0;
      return tf.relu(conv2d(x, tf.mul(this.conv.weight.value, scale), shift, { stride: this.stride, padding }));
    });
  }
}

/** A convolution that keeps the size. */
const keep = (inputs: number, outputs: number, height: number, width = height) =>
  new ConvNorm(inputs, outputs, [height, width], { pad: true });
/** A 3x3 convolution that halves the size. */
const halve = (inputs: number, outputs: number) => new ConvNorm(inputs, outputs, [3, 3], { stride: 2 });

/** Figure 5: 1x1, 5x5, two 3x3 and a pool side by side, at 35 x 35. */
class MixedA extends Module {
  readonly branch1x1: ConvNorm;
  readonly branch5x5_1: ConvNorm;
  readonly branch5x5_2: ConvNorm;
  readonly branch3x3dbl_1: ConvNorm;
  readonly branch3x3dbl_2: ConvNorm;
  readonly branch3x3dbl_3: ConvNorm;
  readonly branch_pool: ConvNorm;
  readonly pool: Pool;

  constructor(inputs: number, pooled: number, pool: Pool) {
    super();
    this.branch1x1 = keep(inputs, 64, 1);
    this.branch5x5_1 = keep(inputs, 48, 1);
    this.branch5x5_2 = keep(48, 64, 5);
    this.branch3x3dbl_1 = keep(inputs, 64, 1);
    this.branch3x3dbl_2 = keep(64, 96, 3);
    this.branch3x3dbl_3 = keep(96, 96, 3);
    this.branch_pool = keep(inputs, pooled, 1);
    this.pool = pool;
  }

  /** `[N, h, w, inputs]` -> `[N, h, w, 224 + pooled]`. */
  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() =>
      tf.concat(
        [
          this.branch1x1.forward(x),
          through(x, this.branch5x5_1, this.branch5x5_2),
          through(x, this.branch3x3dbl_1, this.branch3x3dbl_2, this.branch3x3dbl_3),
          this.branch_pool.forward(this.pool(x)),
        ],
        3,
      ),
    );
  }
}

/** Figure 10: halves 35 x 35 to 17 x 17. */
class MixedB extends Module {
  readonly branch3x3: ConvNorm;
  readonly branch3x3dbl_1: ConvNorm;
  readonly branch3x3dbl_2: ConvNorm;
  readonly branch3x3dbl_3: ConvNorm;

  constructor(inputs: number) {
    super();
    this.branch3x3 = halve(inputs, 384);
    this.branch3x3dbl_1 = keep(inputs, 64, 1);
    this.branch3x3dbl_2 = keep(64, 96, 3);
    this.branch3x3dbl_3 = halve(96, 96);
  }

  /** `[N, h, w, inputs]` -> `[N, h/2, w/2, 480 + inputs]`. */
  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() =>
      tf.concat(
        [
          this.branch3x3.forward(x),
          through(x, this.branch3x3dbl_1, this.branch3x3dbl_2, this.branch3x3dbl_3),
          tf.maxPool(x, 3, 2, 'valid'),
        ],
        3,
      ),
    );
  }
}

/** Figure 6 with n = 7: 7x7 kernels as 1x7 and 7x1, at 17 x 17. */
class MixedC extends Module {
  readonly branch1x1: ConvNorm;
  readonly branch7x7_1: ConvNorm;
  readonly branch7x7_2: ConvNorm;
  readonly branch7x7_3: ConvNorm;
  readonly branch7x7dbl_1: ConvNorm;
  readonly branch7x7dbl_2: ConvNorm;
  readonly branch7x7dbl_3: ConvNorm;
  readonly branch7x7dbl_4: ConvNorm;
  readonly branch7x7dbl_5: ConvNorm;
  readonly branch_pool: ConvNorm;
  readonly pool: Pool;

  constructor(width: number, pool: Pool) {
    super();
    this.branch1x1 = keep(768, 192, 1);
    this.branch7x7_1 = keep(768, width, 1);
    this.branch7x7_2 = keep(width, width, 1, 7);
    this.branch7x7_3 = keep(width, 192, 7, 1);
    this.branch7x7dbl_1 = keep(768, width, 1);
    this.branch7x7dbl_2 = keep(width, width, 7, 1);
    this.branch7x7dbl_3 = keep(width, width, 1, 7);
    this.branch7x7dbl_4 = keep(width, width, 7, 1);
    this.branch7x7dbl_5 = keep(width, 192, 1, 7);
    this.branch_pool = keep(768, 192, 1);
    this.pool = pool;
  }

  /** `[N, h, w, 768]` both. */
  forward(x: tf.Tensor4D): tf.Tensor4D {
    const twice = [this.branch7x7dbl_1, this.branch7x7dbl_2, this.branch7x7dbl_3, this.branch7x7dbl_4];
    return tf.tidy(() =>
      tf.concat(
        [
          this.branch1x1.forward(x),
          through(x, this.branch7x7_1, this.branch7x7_2, this.branch7x7_3),
          through(x, ...twice, this.branch7x7dbl_5),
          this.branch_pool.forward(this.pool(x)),
        ],
        3,
      ),
    );
  }
}

/** Halves 17 x 17 to 8 x 8. */
class MixedD extends Module {
  readonly branch3x3_1: ConvNorm;
  readonly branch3x3_2: ConvNorm;
  readonly branch7x7x3_1: ConvNorm;
  readonly branch7x7x3_2: ConvNorm;
  readonly branch7x7x3_3: ConvNorm;
  readonly branch7x7x3_4: ConvNorm;

  constructor(inputs: number) {
    super();
    this.branch3x3_1 = keep(inputs, 192, 1);
    this.branch3x3_2 = halve(192, 320);
    this.branch7x7x3_1 = keep(inputs, 192, 1);
    this.branch7x7x3_2 = keep(192, 192, 1, 7);
    this.branch7x7x3_3 = keep(192, 192, 7, 1);
    this.branch7x7x3_4 = halve(192, 192);
  }

  /** `[N, h, w, inputs]` -> `[N, h/2, w/2, 512 + inputs]`. */
  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() =>
      tf.concat(
        [
          through(x, this.branch3x3_1, this.branch3x3_2),
          through(x, this.branch7x7x3_1, this.branch7x7x3_2, this.branch7x7x3_3, this.branch7x7x3_4),
          tf.maxPool(x, 3, 2, 'valid'),
        ],
        3,
      ),
    );
  }
}

/** Figure 7: 3x3 kernels as 1x3 beside 3x1, at 8 x 8. */
class MixedE extends Module {
  readonly branch1x1: ConvNorm;
  readonly branch3x3_1: ConvNorm;
  readonly branch3x3_2a: ConvNorm;
  readonly branch3x3_2b: ConvNorm;
  readonly branch3x3dbl_1: ConvNorm;
  readonly branch3x3dbl_2: ConvNorm;
  readonly branch3x3dbl_3a: ConvNorm;
  readonly branch3x3dbl_3b: ConvNorm;
  readonly branch_pool: ConvNorm;
  readonly pool: Pool;

  constructor(inputs: number, pool: Pool) {
    super();
    this.branch1x1 = keep(inputs, 320, 1);
    this.branch3x3_1 = keep(inputs, 384, 1);
    this.branch3x3_2a = keep(384, 384, 1, 3);
    this.branch3x3_2b = keep(384, 384, 3, 1);
    this.branch3x3dbl_1 = keep(inputs, 448, 1);
    this.branch3x3dbl_2 = keep(448, 384, 3);
    this.branch3x3dbl_3a = keep(384, 384, 1, 3);
    this.branch3x3dbl_3b = keep(384, 384, 3, 1);
    this.branch_pool = keep(inputs, 192, 1);
    this.pool = pool;
  }

  /** `[N, h, w, inputs]` -> `[N, h, w, 2048]`. */
  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const once = this.branch3x3_1.forward(x);
      const twice = through(x, this.branch3x3dbl_1, this.branch3x3dbl_2);
      return tf.concat(
        [
          this.branch1x1.forward(x),
          this.branch3x3_2a.forward(once),
          this.branch3x3_2b.forward(once),
          this.branch3x3dbl_3a.forward(twice),
          this.branch3x3dbl_3b.forward(twice),
          this.branch_pool.forward(this.pool(x)),
        ],
        3,
      );
    });
  }
}

/** How a reference turns bytes into the network's input. */
interface Preprocessing {
  readonly recipe: string;
  /** `[N, H, W, 3]` of 0..255 -> `[N, 299, 299, 3]`. */
  prepare(x: tf.Tensor4D): tf.Tensor4D;
}

const centred = (x: tf.Tensor4D): tf.Tensor4D => tf.div(tf.sub(x, 128), 128);

const preprocessings = {
  tensorflow: {
    recipe: 'TensorFlow 1 bilinear to 299, (x - 128) / 128',
    prepare: (x) => centred(resizeImages(x, [SIDE, SIDE], tensorflow1Bilinear)),
  },
  clean: {
    recipe: 'Pillow bicubic with antialias in float to 299, cut to 0..255, (x - 128) / 128 (clean-fid)',
    prepare: (x) => centred(tf.clipByValue(resizeImages(x, [SIDE, SIDE], pillowBicubic), 0, 255)),
  },
  pytorch: {
    recipe: 'PyTorch bilinear to 299, x / 127.5 - 1 (pytorch-fid)',
    prepare: (x) => tf.sub(tf.div(resizeImages(x, [SIDE, SIDE], torchBilinear), 127.5), 1),
  },
} satisfies Readonly<Record<string, Preprocessing>>;

/** Layers whose means over the pixels are features, by their number of channels. */
const layers = [64, 192, 768, 2048] as const;

/** Which features of {@link InceptionV3} are taken, and how pictures are prepared. */
export interface InceptionFeatureOptions {
  /** Default `tensorflow`, torch-fidelity's; `clean` is clean-fid's, `pytorch` pytorch-fid's. */
  readonly preprocessing?: keyof typeof preprocessings;
  /** Default 2048. */
  readonly layer?: (typeof layers)[number];
}

/** A loaded Inception as a feature network. Its logits leave the bias out, as the inception score does. */
export function inceptionFeatures(
  name: string,
  network: InceptionV3,
  { preprocessing = 'tensorflow', layer = 2048 }: InceptionFeatureOptions = {},
): FeatureNetwork {
  const { recipe, prepare }: Preprocessing = preprocessings[preprocessing];
  const { classes, pooling } = network.config;
  const which = pooling === 'tensorflow' ? 'TensorFlow 2015-12-05' : "torchvision's weights: not FID";
  return {
    name,
    dimension: layer,
    classes,
    recipe: `Inception v3 (${which}), mean of the ${layer} channels; ${recipe}`,
    forward: (images) =>
      tf.tidy(() => {
        const maps = network.maps(prepare(asColour(name, images)));
        const [features, last] = [maps[layers.indexOf(layer)]!, maps[3]].map((map) => tf.mean(map!, [1, 2]));
        return { features: features as tf.Tensor2D, logits: network.logits(last as tf.Tensor2D) };
      }),
    dispose: () => network.dispose(),
  };
}

function record(name: string, about: string, options: InceptionFeatureOptions): FeatureNetworkRecord {
  return {
    name,
    about,
    weights: [
      {
        file: 'pt_inception-2015-12-05-6726825d.pth',
        url: 'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth',
        sha256: '6726825d',
      },
    ],
    async open({ weights }) {
      throwIf(name, weights.length === 1 ? [] : [`expected one file of weights, got ${weights.length}`]);
      const source = asWeightSource(weights[0]!);
      const classes = source.tensors.get('fc.weight')?.shape[0] ?? 1008;
      // torchvision's own weights are another network: they are told by their 1000 classes (FID's have 1008).
      const network = new InceptionV3({ classes, pooling: classes === 1008 ? 'tensorflow' : 'torchvision' });
      return inceptionFeatures(name, await network.load(source), options);
    },
  };
}

/** Inception v3 of FID: as torch-fidelity reads it, as clean-fid and pytorch-fid do, and its earlier layers. */
export const inceptionRecords: readonly FeatureNetworkRecord[] = [
  record(
    'inception',
    'Inception v3, 2048 features, resized as TensorFlow 1 did: FID, KID, IS (Heusel et al. 2017)',
    {},
  ),
  record('inception-clean', 'Inception v3, 2048 features, resized as clean-fid does (Parmar et al. 2022)', {
    preprocessing: 'clean',
  }),
  record('inception-pytorch', 'Inception v3, 2048 features, resized as pytorch-fid does', { preprocessing: 'pytorch' }),
  ...([64, 192, 768] as const).map((layer) =>
    record(`inception-${layer}`, `Inception v3, ${layer} features of an earlier layer, as torch-fidelity`, { layer }),
  ),
];

function preset(name: string, about: string, config: InceptionConfig): Preset<InceptionV3> {
  const inputs = () => [{ shape: [1, SIDE, SIDE, 3] }];
  return { name, about, config, build: () => new InceptionV3(config), inputs };
}

/** Inception v3 in the list of architectures. */
export const inceptionArchitecture: OtherArchitecture<InceptionV3> = {
  name: 'InceptionV3',
  kind: 'feature-network',
  package: '@mezzotint/features',
  about: 'Inception v3 (Szegedy et al. 2015)',
  presets: [
    preset('inception-v3', 'Inception v3 of ImageNet, as torchvision has it, 299x299 (Szegedy et al. 2015)', {
      ...{ classes: 1000, pooling: 'torchvision' },
    }),
    preset('inception-v3-fid', 'Inception v3 of 2015-12-05, which FID is defined by, 299x299 (Heusel et al. 2017)', {
      ...{ classes: 1008, pooling: 'tensorflow' },
    }),
  ],
  build: (config) => new InceptionV3(config),
};
