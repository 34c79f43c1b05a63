import type { Preset } from '@mezzotint/core';
import type { DiT } from '../dit.js';
import {
  ditB2,
  ditB4,
  ditB8,
  ditL2,
  ditL4,
  ditL8,
  ditS2,
  ditS4,
  ditS8,
  ditXl2,
  ditXl2At512,
  ditXl4,
  ditXl8,
} from './dit.js';

/** Every preset of this package. */
export const presets: readonly Preset<DiT>[] = [
  ditS8,
  ditS4,
  ditS2,
  ditB8,
  ditB4,
  ditB2,
  ditL8,
  ditL4,
  ditL2,
  ditXl8,
  ditXl4,
  ditXl2,
  ditXl2At512,
];
