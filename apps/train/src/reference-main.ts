import { writeFileSync } from 'node:fs';
import { referencePage } from './reference.js';

writeFileSync(new URL('../../../docs/train-configuration.md', import.meta.url), referencePage());
