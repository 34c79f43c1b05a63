import { InvalidArgumentError } from '@mezzotint/core';
import { describe, expect, test } from 'vitest';
import {
  Flux,
  fluxDev,
  fluxFromDiffusers,
  fluxFromOriginal,
  fluxSchnell,
  MMDiT,
  mmditFromDiffusers,
  mmditFromOriginal,
  sd3Medium,
  sd35Large,
  sd35Medium,
} from '../src/index.js';
import { tinyFlux, tinyMMDiT } from './support/tiny.js';

/** What was said is wrong with an argument. */
function problemsOf(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (error) {
    if (InvalidArgumentError.isInstance(error)) return error.message.split('\n');
    throw error;
  }
  return [];
}

describe('configurations of others', () => {
  // The config.json of the published folders, as far as they are not the class's defaults.
  const medium = { num_layers: 24, num_attention_heads: 24, caption_projection_dim: 1536, pos_embed_max_size: 192 };
  test('diffusers’ of the published models', () => {
    expect(mmditFromDiffusers({ ...medium, _class_name: 'SD3Transformer2DModel' })).toEqual(sd3Medium.build().config);
    const dual = Array.from({ length: 13 }, (_, n) => n);
    const medium35 = { ...medium, qk_norm: 'rms_norm', dual_attention_layers: dual, pos_embed_max_size: 384 };
    expect(mmditFromDiffusers(medium35)).toEqual(sd35Medium.build().config);
    const large = { num_layers: 38, num_attention_heads: 38, caption_projection_dim: 2432 };
    expect(mmditFromDiffusers({ ...medium, ...large, qk_norm: 'rms_norm' })).toEqual(sd35Large.build().config);
    expect(fluxFromDiffusers({ guidance_embeds: true, patch_size: 1 })).toEqual(fluxDev.build().config);
    expect(fluxFromDiffusers({})).toEqual(fluxSchnell.build().config);
  });

  test('the original’s', () => {
    const embedder = { target: 'torch.nn.Linear', params: { in_features: 4096, out_features: 1536 } };
    const json = { in_channels: 16, depth: 24, adm_in_channels: 2048, context_embedder_config: embedder };
    const more = { input_size: null, num_patches: 36_864, pos_embed_max_size: 192, pos_embed_offset: null };
    expect(mmditFromOriginal({ ...json, ...more })).toEqual(sd3Medium.build().config);
    const dev = {
      ...{ in_channels: 64, vec_in_dim: 768, context_in_dim: 4096, hidden_size: 3072, mlp_ratio: 4, num_heads: 24 },
      ...{ depth: 19, depth_single_blocks: 38, axes_dim: [16, 56, 56], theta: 10_000, qkv_bias: true },
      guidance_embed: true,
    };
    expect(fluxFromOriginal(dev)).toEqual(fluxDev.build().config);
  });

  test.each<[string, () => unknown, RegExp]>([
    ['FLUX.1 Fill', () => fluxFromDiffusers({ in_channels: 384, out_channels: 64 }), /384 in and 64 out.*FLUX.1 Fill/],
    [
      'Chroma',
      () => fluxFromDiffusers({ approximator_num_channels: 64 }),
      /approximator_num_channels: not an argument/,
    ],
    ['another norm', () => mmditFromDiffusers({ qk_norm: 'layer_norm' }), /qk_norm: expected null or "rms_norm"/],
    ['a projection of its own', () => mmditFromDiffusers({ caption_projection_dim: 1 }), /expected the width 1152/],
    ['half a patch', () => fluxFromDiffusers({ in_channels: 6 }), /multiple of 4/],
    ['an array', () => fluxFromOriginal([]), /expected a configuration as a JSON object/],
  ])('refused: %s', (_, run, message) => {
    expect(run).toThrow(message);
  });
});

describe('what cannot be built is said at once', () => {
  test('MM-DiT', () => {
    const config = { ...tinyMMDiT, depth: 0, width: 10, heads: 3, dualAttentionLayers: [5], qkNorm: 'batch' as 'rms' };
    const problems = problemsOf(() => new MMDiT(config)).join('\n');
    for (const name of ['depth', 'width', 'heads', 'dualAttentionLayers', 'qkNorm']) expect(problems).toMatch(name);
    expect(problemsOf(() => new MMDiT({ ...tinyMMDiT, depth: 5000 })).join()).toMatch(/at most 1024, got 5000/);
  });

  test('FLUX', () => {
    const config = { ...tinyFlux, heads: 3, rotaryAxes: [1, 3, 4], guidanceEmbed: 1 as unknown as boolean };
    const problems = problemsOf(() => new Flux(config)).join('\n');
    for (const name of ['heads', 'rotaryAxes', 'guidanceEmbed']) expect(problems).toMatch(name);
    expect(problemsOf(() => new Flux({ ...tinyFlux, rotaryAxes: [2, 2, 2] })).join()).toMatch(/add up to 8/);
  });
});
