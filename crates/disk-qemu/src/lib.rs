//! disk-qemu
