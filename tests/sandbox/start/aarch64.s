.globl _start
_start:
  ldr x19, [sp]                   // argc
  add x20, sp, x19, lsl #3
  add x20, x20, #16               // envp
  add x21, sp, #16                // &argv[1]: the umask, octal, and a bit
  ldr x1, [x21], #8
  mov x0, #0
1: ldrb w2, [x1], #1
  cbz w2, 2f
  sub w2, w2, #48
  add x0, x2, x0, lsl #3
  b 1b
2: mov x24, x0
  mov x8, #166                    // umask: takes the nine lowest bits
  svc #0
  tbnz x24, #9, 5f                // the bit above them: leave stdout and stderr apart
  mov x0, #1
  mov x1, #2
  mov x2, #0
  mov x8, #24                     // dup3(1, 2, 0)
  svc #0
5: mov x0, #38
  mov x1, #1
  mov x2, #0
  mov x3, #0
  mov x4, #0
  mov x8, #167                    // prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
  svc #0
  sub sp, sp, #16
  adr x3, end                     // struct sock_fprog
  ldr x4, [x3], #8
  stp x4, x3, [sp]
  mov x0, #22
  mov x1, #2
  mov x2, sp
  mov x8, #167                    // prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, fprog)
  svc #0
  mov x22, #125
  cbnz x0, 6f
  mov x23, x21
3: ldr x1, [x23], #8              // find the empty string; the command starts behind it
  ldrb w2, [x1]
  cbnz w2, 3b
  mov x22, #127
4: ldr x0, [x21], #8
  ldrb w2, [x0]
  cbz w2, 6f
  mov x1, x23
  mov x2, x20
  mov x8, #221                    // execve
  svc #0
  cmn x0, #2                      // ENOENT
  b.eq 4b
  cmn x0, #20                     // ENOTDIR
  b.eq 4b
  mov x22, #126
  b 4b
6: mov x0, x22
  mov x8, #94                     // exit_group
  svc #0
  .balign 8
end:
