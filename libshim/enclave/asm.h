/*
 * asm.h - the two words with which assembly files name things.
 *
 * Owns: FUNCTION (an entry, aligned) and LABEL (a place inside one that C must know). Must never: hold code.
 * Used by: gate.S, doors.S.
 */
#ifndef SCONE_ASM_H
#define SCONE_ASM_H

.macro FUNCTION name
	.balign 16
	.globl	\name
	.hidden	\name
	.type	\name, @function
\name:
.endm

.macro LABEL name
	.globl	\name
	.hidden	\name
\name:
.endm

#endif
