// Sets the repository up and does nothing more.
import { build, install } from './setup.mjs';

install();
build();
