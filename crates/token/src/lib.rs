//! JOSE: key sets, verification, API keys, and minting of the internal token.
