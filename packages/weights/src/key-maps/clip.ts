import { NameTree } from '@mezzotint/core';
import { below, type KeyMap, type KeyPair, pair, type Side, same } from './key-map.js';

/** A transformer layer: OpenCLIP and OpenAI (left) stack q, k and v; transformers (right) has one matrix each. */
const LAYER: readonly KeyPair[] = [
  same('ln_1', 'layer_norm1'),
  pair('attn.in_proj_weight', 'fused', 'self_attn.q_proj.weight', 'self_attn.k_proj.weight', 'self_attn.v_proj.weight'),
  pair('attn.in_proj_bias', 'fused', 'self_attn.q_proj.bias', 'self_attn.k_proj.bias', 'self_attn.v_proj.bias'),
  same('attn.out_proj', 'self_attn.out_proj'),
  same('ln_2', 'layer_norm2'),
  same('mlp.c_fc', 'mlp.fc1'),
  same('mlp.c_proj', 'mlp.fc2'),
];

const TEXT: readonly KeyPair[] = [
  same('token_embedding', 'text_model.embeddings.token_embedding'),
  same('positional_embedding', 'text_model.embeddings.position_embedding.weight'),
  same('ln_final', 'text_model.final_layer_norm'),
  pair('text_projection', 'transposed', 'text_projection.weight'),
];

const VISION: readonly KeyPair[] = [
  same('visual.class_embedding', 'vision_model.embeddings.class_embedding'),
  same('visual.positional_embedding', 'vision_model.embeddings.position_embedding.weight'),
  same('visual.conv1', 'vision_model.embeddings.patch_embedding'),
  same('visual.ln_pre', 'vision_model.pre_layrnorm'),
  same('visual.ln_post', 'vision_model.post_layernorm'),
  pair('visual.proj', 'transposed', 'visual_projection.weight'),
  same('logit_scale', 'logit_scale'),
];

/** How a CLIP key map is cut. */
export interface ClipKeyMapOptions {
  /**
   * Text layers to keep; all when absent. Stable Diffusion 2's files hold 24 and use the output of the 23rd, so its
   * transformers form has 23 and no projection.
   */
  readonly textLayers?: number;
}

/**
 * Key map of CLIP: OpenCLIP and OpenAI (left: `transformer.resblocks.N.attn.in_proj_weight`, `text_projection` to be
 * multiplied from the right) and transformers (right: `text_model.encoder.layers.N.self_attn.q_proj.weight`,
 * `text_projection.weight` as a linear layer). Text towers, image towers or both.
 */
export function clipKeyMap(names: Iterable<string>, from: Side, { textLayers }: ClipKeyMapOptions = {}): KeyMap {
  const tree = new NameTree(names);
  const text = tree.count(from === 'left' ? 'transformer.resblocks' : 'text_model.encoder.layers');
  const vision = tree.count(from === 'left' ? 'visual.transformer.resblocks' : 'vision_model.encoder.layers');
  const kept = Math.min(text, textLayers ?? text);
  const hasVision = vision > 0;
  const cut = kept < text;
  const layers = (left: string, right: string, count: number) =>
    Array.from({ length: count }, (_, n) => below(`${left}.${n}`, `${right}.${n}`, LAYER)).flat();
  return {
    name: 'clip: openclip <-> transformers',
    pairs: [
      ...TEXT.filter(({ left }) => !(cut && left === 'text_projection')),
      ...layers('transformer.resblocks', 'text_model.encoder.layers', kept),
      ...(hasVision
        ? [...VISION, ...layers('visual.transformer.resblocks', 'vision_model.encoder.layers', vision)]
        : []),
    ],
    leftOut: [
      { name: 'attn_mask', side: 'left', why: 'the causal mask, which the model computes' },
      { name: 'text_model.embeddings.position_ids', side: 'right', why: '0, 1, 2, …' },
      { name: 'vision_model.embeddings.position_ids', side: 'right', why: '0, 1, 2, …' },
      ...(hasVision
        ? []
        : [
            {
              name: 'logit_scale',
              side: 'left' as const,
              why: 'compares with images; a text encoder alone does not use it',
            },
          ]),
      ...Array.from({ length: text - kept }, (_, n) => ({
        name: `transformer.resblocks.${kept + n}`,
        side: 'left' as const,
        why: `the model uses the output of layer ${kept} of ${text}`,
      })),
      ...(cut ? [{ name: 'text_projection', side: 'left' as const, why: 'the model uses hidden states only' }] : []),
    ],
  };
}

/** Key map of CLIP's text tower as published (left: `text_model.…`) and as transformers 5 saves it (right: without). */
export function clipTextPrefixKeyMap(): KeyMap {
  return {
    name: 'clip text: transformers 4 <-> transformers 5',
    pairs: ['embeddings', 'encoder', 'final_layer_norm'].map((name) => same(`text_model.${name}`, name)),
    leftOut: [{ name: 'text_model.embeddings.position_ids', side: 'left', why: '0, 1, 2, …' }],
  };
}

/** Key map of CLIP in transformers' layout onto itself, without the buffers that old versions saved. */
export function clipTransformersKeyMap(): KeyMap {
  return {
    name: 'clip: transformers',
    pairs: ['text_model', 'vision_model', 'text_projection', 'visual_projection', 'logit_scale'].map((name) =>
      same(name, name),
    ),
    leftOut: [
      { name: 'text_model.embeddings.position_ids', side: 'left', why: '0, 1, 2, …' },
      { name: 'vision_model.embeddings.position_ids', side: 'left', why: '0, 1, 2, …' },
    ],
  };
}
