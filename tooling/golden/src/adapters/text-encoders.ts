import {
  ClipModel,
  ClipTextModel,
  ClipTextModelWithProjection,
  ClipVisionModel,
  ClipVisionModelWithProjection,
  clipFromTransformers,
  clipTextFromTransformers,
  clipVisionFromTransformers,
  T5EncoderModel,
  t5FromTransformers,
} from '@mezzotint/text-encoders';
import type { Adapter } from '../adapter.js';
import { toChannelsLast } from '../axes.js';
import { input } from '../inputs.js';

/** transformers' CLIP text encoder. */
export const clipText: Adapter<ClipTextModel> = {
  classes: ['CLIPTextModel'],
  build: (config) => new ClipTextModel(clipTextFromTransformers(config)),
  run: (model, inputs) => {
    const { lastHiddenState, hiddenState, pooled } = model.forward(input(inputs, 'input_ids'), { skip: 1 });
    return { last_hidden_state: lastHiddenState, penultimate: hiddenState, pooled };
  },
};

/** transformers' CLIP text encoder with projection. */
export const clipTextProjection: Adapter<ClipTextModelWithProjection> = {
  classes: ['CLIPTextModelWithProjection'],
  build: (config) => new ClipTextModelWithProjection(clipTextFromTransformers(config)),
  run: (model, inputs) => {
    const { lastHiddenState, hiddenState, textEmbeds } = model.forward(input(inputs, 'input_ids'), { skip: 1 });
    return { last_hidden_state: lastHiddenState, penultimate: hiddenState, text_embeds: textEmbeds };
  },
};

/** transformers' CLIP image encoder. */
export const clipVision: Adapter<ClipVisionModel> = {
  classes: ['CLIPVisionModel'],
  build: (config) => new ClipVisionModel(clipVisionFromTransformers(config)),
  run: (model, inputs) => {
    const { lastHiddenState, pooled } = model.forward(toChannelsLast(input(inputs, 'pixel_values')));
    return { last_hidden_state: lastHiddenState, pooler_output: pooled };
  },
};

/** transformers' CLIP image encoder with projection. */
export const clipVisionProjection: Adapter<ClipVisionModelWithProjection> = {
  classes: ['CLIPVisionModelWithProjection'],
  build: (config) => new ClipVisionModelWithProjection(clipVisionFromTransformers(config)),
  run: (model, inputs) => {
    const { lastHiddenState, imageEmbeds } = model.forward(toChannelsLast(input(inputs, 'pixel_values')));
    return { last_hidden_state: lastHiddenState, image_embeds: imageEmbeds };
  },
};

/** transformers' whole CLIP. */
export const clip: Adapter<ClipModel> = {
  classes: ['CLIPModel'],
  build: (config) => new ClipModel(clipFromTransformers(config)),
  run: (model, inputs) => {
    const pixels = toChannelsLast(input(inputs, 'pixel_values'));
    const { textEmbeds, imageEmbeds, logitsPerImage } = model.forward(input(inputs, 'input_ids'), pixels);
    return { text_embeds: textEmbeds, image_embeds: imageEmbeds, logits_per_image: logitsPerImage };
  },
};

/** transformers' T5 encoder; `last_hidden_state` is without mask. */
export const t5Encoder: Adapter<T5EncoderModel> = {
  classes: ['T5EncoderModel'],
  build: (config) => new T5EncoderModel(t5FromTransformers(config)),
  run: (model, inputs) => ({
    last_hidden_state: model.forward(input(inputs, 'input_ids')),
    last_hidden_state_masked: model.forward(input(inputs, 'input_ids'), { mask: input(inputs, 'attention_mask') }),
  }),
};
