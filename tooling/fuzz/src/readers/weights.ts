import type { HostTensor, WeightSource } from '@mezzotint/core';
import { sizeOf } from '@mezzotint/core';
import { decodeImage } from '@mezzotint/data';
import {
  bytesSource,
  dequantized,
  explain,
  mergeLora,
  modulesAsMetadata,
  modulesOf,
  openComponent,
  openGguf,
  openNpy,
  openNpz,
  openSafetensorsSync,
  openTorch,
  parseLora,
  parseShardIndex,
} from '@mezzotint/weights';
import { below, binary, file, jsonFile, type Reader, readAll, safetensorsOf } from '../reader.js';

const weights = 'packages/weights/test/fixtures';
const apps = 'apps/sample/test/fixtures';
const base64 = (path: string) =>
  Object.values((JSON.parse(Buffer.from(file(path)).toString('utf8')) as { files: Record<string, string> }).files).map(
    (text) => new Uint8Array(Buffer.from(text, 'base64')),
  );

/** Checksums off, or almost every mutation would end there. */
const torch = (bytes: Uint8Array) => openTorch(bytesSource(bytes), { checksums: false });

/** The factors of a LoRA of rank 2 over a weight [rows, columns], under the names of a dialect. */
const factors = (down: string, up: string, rows: number, columns: number) => ({
  [down]: [2, columns],
  [up]: [rows, 2],
});

// A model like FLUX's and one like Stable Diffusion's, of width 4.
const D = 4;
const flux = {
  'double_blocks.0.img_attn.qkv.weight': [3 * D, D],
  'double_blocks.0.img_attn.proj.weight': [D, D],
  'double_blocks.0.txt_attn.qkv.weight': [3 * D, D],
  'single_blocks.0.linear1.weight': [7 * D, D],
  'single_blocks.0.linear2.weight': [D, 5 * D],
};
const unetLayer = 'down_blocks.0.attentions.0.transformer_blocks.0.attn1';
const unet = {
  [`${unetLayer}.to_q.weight`]: [D, D],
  [`${unetLayer}.to_out.0.weight`]: [D, D],
  'down_blocks.0.resnets.0.conv1.weight': [D, D, 3, 3],
};
const textLayer = 'text_model.encoder.layers.0.self_attn.q_proj';
const text = { [`${textLayer}.weight`]: [D, D] };
const kohyaUnet = `lora_unet_${unetLayer.replaceAll('.', '_')}`;

/** One file of each dialect, and which model it is for. */
const loraFiles: readonly [model: 'flux' | 'sd', file: Uint8Array][] = [
  [
    'flux',
    safetensorsOf({
      ...factors(
        'lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight',
        'lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight',
        3 * D,
        D,
      ),
      'lora_unet_double_blocks_0_img_attn_qkv.alpha': [],
    }),
  ],
  [
    'flux',
    safetensorsOf(
      factors('double_blocks.0.img_attn.qkv.lora_A.weight', 'double_blocks.0.img_attn.qkv.lora_B.weight', 3 * D, D),
    ),
  ],
  [
    'flux',
    safetensorsOf(
      factors(
        'diffusion_model.double_blocks.0.img_attn.proj.lora_A.weight',
        'diffusion_model.double_blocks.0.img_attn.proj.lora_B.weight',
        D,
        D,
      ),
    ),
  ],
  [
    'flux',
    safetensorsOf(
      factors(
        'double_blocks.0.processor.qkv_lora1.down.weight',
        'double_blocks.0.processor.qkv_lora1.up.weight',
        3 * D,
        D,
      ),
    ),
  ],
  [
    'flux',
    safetensorsOf(
      factors(
        'transformer.transformer_blocks.0.attn.to_q.lora_A.weight',
        'transformer.transformer_blocks.0.attn.to_q.lora_B.weight',
        D,
        D,
      ),
    ),
  ],
  [
    'flux',
    safetensorsOf({
      'lycoris_double_blocks_0_img_attn_proj.lokr_w1': [2, 2],
      'lycoris_double_blocks_0_img_attn_proj.lokr_w2': [2, 2],
      'lycoris_double_blocks_0_img_attn_proj.alpha': [],
    }),
  ],
  [
    'flux',
    safetensorsOf({
      'lora_unet_double_blocks_0_img_attn_proj.hada_w1_a': [D, 2],
      'lora_unet_double_blocks_0_img_attn_proj.hada_w1_b': [2, D],
      'lora_unet_double_blocks_0_img_attn_proj.hada_w2_a': [D, 2],
      'lora_unet_double_blocks_0_img_attn_proj.hada_w2_b': [2, D],
    }),
  ],
  [
    'sd',
    safetensorsOf(
      {
        ...factors(`${kohyaUnet}_to_q.lora_down.weight`, `${kohyaUnet}_to_q.lora_up.weight`, D, D),
        [`${kohyaUnet}_to_q.alpha`]: [],
        [`${kohyaUnet}_to_q.dora_scale`]: [D, 1],
      },
      { ss_network_alpha: '2', ss_network_dim: '2' },
    ),
  ],
  [
    'sd',
    safetensorsOf(
      {
        ...factors(`unet.${unetLayer}.to_q.lora_A.weight`, `unet.${unetLayer}.to_q.lora_B.weight`, D, D),
        [`unet.${unetLayer}.to_q.lora_magnitude_vector`]: [D],
      },
      { lora_adapter_metadata: '{"unet.r":2,"unet.lora_alpha":4,"unet.alpha_pattern":{}}' },
    ),
  ],
  [
    'sd',
    safetensorsOf(
      factors(
        `base_model.model.${unetLayer}.to_out.0.lora_A.default_0.weight`,
        `base_model.model.${unetLayer}.to_out.0.lora_B.default_0.weight`,
        D,
        D,
      ),
    ),
  ],
  [
    'sd',
    safetensorsOf({
      ...factors(`unet.${unetLayer}.to_q.lora.down.weight`, `unet.${unetLayer}.to_q.lora.up.weight`, D, D),
      ...factors(
        `text_encoder.${textLayer}.lora_linear_layer.down.weight`,
        `text_encoder.${textLayer}.lora_linear_layer.up.weight`,
        D,
        D,
      ),
    }),
  ],
  [
    'sd',
    safetensorsOf({
      'lora_unet_down_blocks_0_resnets_0_conv1.lora_down.weight': [2, D, 1, 1],
      'lora_unet_down_blocks_0_resnets_0_conv1.lora_up.weight': [D, 2, 1, 1],
      'lora_unet_down_blocks_0_resnets_0_conv1.lora_mid.weight': [2, 2, 3, 3],
    }),
  ],
];

function model(shapes: Readonly<Record<string, readonly number[]>>): WeightSource {
  return {
    name: 'model',
    tensors: new Map(Object.entries(shapes).map(([name, shape]) => [name, { shape, dtype: 'F32' }])),
    read: (name): HostTensor => ({ shape: shapes[name]!, data: new Float32Array(sizeOf(shapes[name]!)).fill(0.5) }),
  };
}

/** Weights in every format, LoRA files of every dialect, pictures. */
export const weightReaders: readonly Reader[] = [
  binary(
    'safetensors',
    below(apps, /tiny-sd\/.*\.safetensors$/).slice(0, 2),
    (bytes) => readAll(openSafetensorsSync(bytesSource(bytes))),
    5,
  ),
  binary(
    'small safetensors',
    [safetensorsOf({ w: [2, 3], h: [4], none: [] })],
    (bytes) => readAll(openSafetensorsSync(bytesSource(bytes))),
    5,
  ),
  binary('single file', below(apps, /tiny-sd\/unet\/.*\.safetensors$/), (bytes) =>
    explain(openComponent(openSafetensorsSync(bytesSource(bytes))).weights as never),
  ),
  binary('torch', below(`${weights}/torch`, /\.(?:pt|ckpt|pkl)$/), async (bytes) => readAll(await torch(bytes)), 5),
  binary(
    'edm pickle',
    below(`${weights}/torch`, /(?:persistent|edm2).*\.pkl$/),
    async (bytes) => {
      const opened = await torch(bytes);
      modulesAsMetadata(modulesOf(opened));
      await readAll(opened);
    },
    5,
  ),
  // Deflate unpacks to at most 1032 times its size.
  binary('npz', below(`${weights}/numpy`, /\.npz$/), async (bytes) => readAll(await openNpz(bytesSource(bytes))), 1032),
  binary('npy', below(`${weights}/numpy`, /\.npy$/), async (bytes) => readAll(await openNpy(bytesSource(bytes))), 5),
  // Blocks of 2 bits are widened 12 times, of 4 bits 8 times.
  binary('gguf', below(`${weights}/gguf`, /\.gguf$/), async (bytes) => readAll(await openGguf(bytesSource(bytes))), 13),
  binary(
    'quantised',
    below(`${weights}/quantized`, /\.safetensors$/),
    async (bytes) => readAll(await dequantized(openSafetensorsSync(bytesSource(bytes)))),
    9,
  ),
  jsonFile(
    'shard index',
    [Buffer.from('{"metadata":{"total_size":8},"weight_map":{"a":"x-1.safetensors","b":"x-2.safetensors"}}')],
    (bytes) => parseShardIndex('index', Buffer.from(bytes).toString('utf8')),
  ),
  binary(
    'lora',
    loraFiles.map(([, bytes]) => bytes),
    async (bytes, seed) => {
      const lora = openSafetensorsSync(bytesSource(bytes));
      parseLora(lora);
      const models =
        loraFiles[seed]![0] === 'flux'
          ? { denoiser: model(flux) }
          : { denoiser: model(unet), text_encoder: model(text) };
      const merged = await mergeLora(models, lora);
      for (const part of Object.values(merged)) await readAll(part as WeightSource);
    },
    5,
  ),
  binary(
    'picture',
    [
      ...base64('packages/data/test/fixtures/image-files.json'),
      ...base64('packages/data/test/fixtures/image-kinds.json'),
    ],
    (bytes) => decodeImage(bytes, 'picture', { channels: 3, maxPixels: 2 ** 20 }),
  ),
];
