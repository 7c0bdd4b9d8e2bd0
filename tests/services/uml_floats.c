/* User-mode Linux before 6.9 keeps 2,696 bytes of a process's floating-point state; the kernel of a CPU whose state is
   larger (AMX) refuses to set a part of it. Preloaded, this sets the part in what the process has already. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define XSTATE ((void *)0x202) /* NT_X86_XSTATE */

long ptrace(enum __ptrace_request request, ...) {
    va_list given;
    va_start(given, request);
    long process = va_arg(given, long);
    void *address = va_arg(given, void *), *data = va_arg(given, void *);
    va_end(given);
    if (request == PTRACE_SETREGSET && address == XSTATE) {
        static __thread char state[65536];
        struct iovec *part = data, whole = {state, sizeof state};
        if (syscall(SYS_ptrace, PTRACE_GETREGSET, process, address, &whole) < 0) return -1;
        memcpy(state, part->iov_base, part->iov_len < whole.iov_len ? part->iov_len : whole.iov_len);
        return syscall(SYS_ptrace, request, process, address, &whole);
    }
    if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
        long word; /* the system call writes it, the library's function returns it */
        if (syscall(SYS_ptrace, request, process, address, &word) < 0) return -1;
        errno = 0;
        return word;
    }
    return syscall(SYS_ptrace, request, process, address, data);
}
