/** Models whose files are recognised. */
export type ModelKind =
  | 'sd-unet'
  | 'adm-unet'
  | 'ddpm-unet'
  | 'kl-vae'
  | 'vq-vae'
  | 'tiny-vae'
  | 'clip'
  | 't5'
  | 'dit'
  | 'sd3'
  | 'flux'
  | 'u-vit'
  | 'edm2';

/** How a file names its tensors. `transformers-5` and `diffusers-2022` are dialects of their libraries, `gguf` is llama.cpp's. */
export type LayoutKind =
  | 'original'
  | 'diffusers'
  | 'diffusers-2022'
  | 'transformers'
  | 'transformers-5'
  | 'openclip'
  | 'gguf';

/** What a state dict is, by its names. */
export interface Recognised {
  readonly model: ModelKind;
  readonly layout: LayoutKind;
}

interface Signature extends Recognised {
  /** Names that must all be there. */
  readonly has: readonly string[];
}

/** The first that fits wins. */
const SIGNATURES: readonly Signature[] = [
  { model: 'flux', layout: 'original', has: ['double_blocks.0.img_attn.qkv.weight'] },
  { model: 'flux', layout: 'diffusers', has: ['single_transformer_blocks.0.proj_mlp.weight', 'x_embedder.weight'] },
  { model: 'sd3', layout: 'original', has: ['joint_blocks.0.x_block.attn.qkv.weight'] },
  { model: 'sd3', layout: 'diffusers', has: ['transformer_blocks.0.attn.add_q_proj.weight', 'pos_embed.proj.weight'] },
  {
    model: 'dit',
    layout: 'original',
    has: ['blocks.0.adaLN_modulation.1.weight', 'y_embedder.embedding_table.weight'],
  },
  {
    model: 'dit',
    layout: 'diffusers',
    has: ['transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight', 'proj_out_1.weight'],
  },
  { model: 'u-vit', layout: 'original', has: ['in_blocks.0.attn.qkv.weight', 'mid_block.attn.qkv.weight'] },
  { model: 'edm2', layout: 'original', has: ['unet.out_conv.weight', 'unet.emb_noise.weight'] },
  { model: 'sd-unet', layout: 'original', has: ['input_blocks.0.0.weight', 'middle_block.1.proj_in.weight'] },
  {
    model: 'sd-unet',
    layout: 'diffusers',
    has: ['down_blocks.0.resnets.0.norm1.weight', 'mid_block.attentions.0.proj_in.weight'],
  },
  { model: 'adm-unet', layout: 'original', has: ['input_blocks.0.0.weight', 'middle_block.1.qkv.weight'] },
  {
    model: 'ddpm-unet',
    layout: 'diffusers',
    has: ['conv_in.weight', 'time_embedding.linear_1.weight', 'mid_block.attentions.0.to_q.weight'],
  },
  // Pruned UNets have no middle, or one without attention; text is seen on the first level (1, 2) or the second (XL).
  ...['input_blocks.1.1', 'input_blocks.4.1'].map((place) => ({
    model: 'sd-unet' as const,
    layout: 'original' as const,
    has: ['input_blocks.0.0.weight', `${place}.transformer_blocks.0.attn2.to_k.weight`],
  })),
  ...['down_blocks.0', 'down_blocks.1'].map((place) => ({
    model: 'sd-unet' as const,
    layout: 'diffusers' as const,
    has: ['conv_in.weight', `${place}.attentions.0.transformer_blocks.0.attn2.to_k.weight`],
  })),
  { model: 'vq-vae', layout: 'original', has: ['encoder.mid.attn_1.q.weight', 'quantize.embedding.weight'] },
  {
    model: 'vq-vae',
    layout: 'diffusers',
    has: ['encoder.mid_block.attentions.0.to_q.weight', 'quantize.embedding.weight'],
  },
  { model: 'kl-vae', layout: 'original', has: ['encoder.mid.attn_1.q.weight'] },
  { model: 'kl-vae', layout: 'diffusers', has: ['encoder.mid_block.attentions.0.to_q.weight'] },
  { model: 'kl-vae', layout: 'diffusers-2022', has: ['encoder.mid_block.attentions.0.query.weight'] },
  // Without attention in the middle.
  {
    model: 'kl-vae',
    layout: 'original',
    has: ['encoder.mid.block_1.norm1.weight', 'decoder.mid.block_1.norm1.weight'],
  },
  {
    model: 'kl-vae',
    layout: 'diffusers',
    has: ['encoder.mid_block.resnets.0.norm1.weight', 'decoder.mid_block.resnets.0.norm1.weight'],
  },
  { model: 'tiny-vae', layout: 'diffusers', has: ['encoder.layers.0.weight', 'decoder.layers.0.weight'] },
  { model: 'clip', layout: 'openclip', has: ['transformer.resblocks.0.attn.in_proj_weight'] },
  { model: 'clip', layout: 'transformers', has: ['text_model.encoder.layers.0.self_attn.q_proj.weight'] },
  {
    model: 'clip',
    layout: 'transformers-5',
    has: ['encoder.layers.0.self_attn.q_proj.weight', 'embeddings.token_embedding.weight'],
  },
  { model: 't5', layout: 'transformers', has: ['encoder.block.0.layer.0.SelfAttention.q.weight'] },
  { model: 't5', layout: 'gguf', has: ['enc.blk.0.attn_q.weight', 'enc.output_norm.weight'] },
];

/** What a state dict is, by its names; undefined when it is nothing known. */
export function recognise(names: Iterable<string>): Recognised | undefined {
  const all = new Set(names);
  const found = SIGNATURES.find(({ has }) => has.every((name) => all.has(name)));
  return found && { model: found.model, layout: found.layout };
}
