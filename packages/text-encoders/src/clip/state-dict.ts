import { renamed, type WeightSource } from '@mezzotint/core';

/** What transformers 5 names without the tower's prefix when the tower is saved alone. */
const BARE = ['embeddings.', 'encoder.', 'final_layer_norm.', 'pre_layrnorm.', 'post_layernorm.'];

/**
 * A tower's weights under the names of the published files: `prefix` added where transformers 5 leaves it out, and the
 * buffer `position_ids` (0, 1, 2, …), which old versions saved, left out.
 */
export function towerAtHome(source: WeightSource, prefix: string): WeightSource {
  return renamed(source, (name) => {
    if (name.endsWith('embeddings.position_ids')) return undefined;
    return BARE.some((start) => name.startsWith(start)) ? prefix + name : name;
  });
}
