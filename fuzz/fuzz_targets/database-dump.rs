#![no_main]

#[global_allocator]
static ALLOCATOR: tresor_decoders::Counting = tresor_decoders::Counting;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tresor_decoders::fuzz("database-dump", bytes));
