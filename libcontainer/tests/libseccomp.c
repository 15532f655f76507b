/* Reads seccomp profiles on standard input and writes the programs that libseccomp makes of them: the oracle of
 * seccomp/tests/libseccomp.rs. One profile is
 *
 *   profile DEFAULT ARCHS             actions as SECCOMP_RET_ values, ARCHS a set of 1 = x86, 2 = x32
 *   rule ACTION NAME COUNT [INDEX OPERATOR A B]...
 *   end
 *
 * and its answer a 32-bit number of instructions (0: libseccomp refused, then errno follows) and the instructions.
 */
#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint32_t action(uint32_t ret)
{
    uint32_t data = ret & 0xffff;
    switch (ret & 0xffff0000) {
    case 0: return SCMP_ACT_KILL_THREAD;
    case 0x80000000: return SCMP_ACT_KILL_PROCESS;
    case 0x00030000: return SCMP_ACT_TRAP;
    case 0x00050000: return SCMP_ACT_ERRNO(data);
    case 0x7ff00000: return SCMP_ACT_TRACE(data);
    case 0x7ffc0000: return SCMP_ACT_LOG;
    case 0x7fc00000: return SCMP_ACT_NOTIFY;
    default: return SCMP_ACT_ALLOW;
    }
}

/* As runtimes do it: a name that libseccomp does not know is left out, a rule that says the default too. */
static int add(scmp_filter_ctx ctx, uint32_t def)
{
    static const enum scmp_compare operators[] = { SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ,
                                                   SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ };
    uint32_t verdict;
    char name[64];
    unsigned count, seen = 0;
    int twice = 0, result = 0;
    struct scmp_arg_cmp args[32];
    if (scanf("%" SCNu32 " %63s %u", &verdict, name, &count) != 3 || count > 32)
        exit(2);
    for (unsigned i = 0; i < count; i++) {
        unsigned index, operator;
        uint64_t a, b;
        if (scanf("%u %u %" SCNu64 " %" SCNu64, &index, &operator, &a, &b) != 4 || index > 5 || operator > 6)
            exit(2);
        args[i] = (struct scmp_arg_cmp){ index, operators[operator], a, b };
        twice |= seen >> index & 1;
        seen |= 1u << index;
    }
    int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR || verdict == def)
        return 0;
    if (!twice)
        return seccomp_rule_add_array(ctx, action(verdict), number, count, args);
    for (unsigned i = 0; i < count && result == 0; i++)
        result = seccomp_rule_add_array(ctx, action(verdict), number, 1, &args[i]);
    return result;
}

static void put(const void *bytes, size_t length)
{
    if (fwrite(bytes, 1, length, stdout) != length)
        exit(2);
}

static void answer(scmp_filter_ctx ctx, int result)
{
    static char program[1 << 20];
    uint32_t length = 0, error;
    int fd = memfd_create("program", 0);
    if (result == 0)
        result = seccomp_export_bpf(ctx, fd);
    if (result == 0) {
        ssize_t got = pread(fd, program, sizeof program, 0);
        if (got <= 0)
            exit(2);
        length = (uint32_t)got / 8;
        put(&length, sizeof length);
        put(program, (size_t)got);
    } else {
        error = (uint32_t)-result;
        put(&length, sizeof length);
        put(&error, sizeof error);
    }
    close(fd);
}

int main(void)
{
    char word[16];
    scmp_filter_ctx ctx = NULL;
    uint32_t def = 0;
    unsigned archs;
    int result = 0;
    while (scanf("%15s", word) == 1) {
        if (strcmp(word, "profile") == 0) {
            if (scanf("%" SCNu32 " %u", &def, &archs) != 2)
                return 2;
            result = 0;
            ctx = seccomp_init(action(def));
            if (ctx == NULL || (archs & 1 && seccomp_arch_add(ctx, SCMP_ARCH_X86) != 0) ||
                (archs & 2 && seccomp_arch_add(ctx, SCMP_ARCH_X32) != 0))
                return 2;
        } else if (strcmp(word, "rule") == 0) {
            int added = add(ctx, def);
            if (result == 0)
                result = added;
        } else {
            answer(ctx, result);
            seccomp_release(ctx);
        }
    }
    return 0;
}
