// Ctrl-C in the middle of an op that takes long.
#pragma once

namespace vreid_fast {

// Has Python run its handlers of the signals that have come, as Python does between two lines; where one
// raises, so does this. To be called often: it looks ten times a second at most, as it may have to wait for
// other threads of Python, and on the first thread of the op alone, since handlers run on the one that called
// it.
void raise_if_interrupted();

}  // namespace vreid_fast
