/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Memory as an x86-64 shows it (total store order), for Spin, whose own variables are sequentially
 * consistent: a store goes into the thread's buffer, two slots deep, and reaches memory at any time
 * later, in order. A fence and every read-modify-write wait until the buffer is empty. A load reads
 * memory, not the buffer: no thread of these models loads a word that it has a store under way to.
 */

byte mem[WORDS];
chan buffer[THREADS] = [2] of { byte, byte };

#define LOAD(word)                 mem[word]
#define STORE(thread, word, value) buffer[thread] ! word, value
#define FENCE(thread)              empty(buffer[thread])

#define EXCHANGE(thread, word, value, before) \
	atomic { empty(buffer[thread]) -> before = mem[word]; mem[word] = value }
#define FETCH_OR(thread, word, bits) \
	atomic { empty(buffer[thread]) -> mem[word] = mem[word] | (bits) }

/* One beside each thread. */
proctype store_buffer(byte thread)
{
	byte word;
	byte value;

end:
	do
	:: d_step { buffer[thread] ? word, value -> mem[word] = value; word = 0; value = 0 }
	od
}
