/* What the steps of the tests run: one static program, so that its root file system is one small package. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(const char *what) {
    fprintf(stderr, "tool: %s: %s\n", what, strerror(errno));
    return 1;
}

static int copy(const char *from, const char *to, long most) {
    char buffer[1 << 16];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    if (in < 0 || out < 0)
        return failed(in < 0 ? from : to);
    for (ssize_t n; most > 0 && (n = read(in, buffer, most < (long)sizeof buffer ? (size_t)most : sizeof buffer)) > 0; most -= n)
        for (ssize_t done = 0, more; done < n; done += more)
            if ((more = write(out, buffer + done, (size_t)(n - done))) < 0)
                return failed(to);
    return close(out) ? failed(to) : 0;
}

static int write_text(const char *to, const char *text) {
    FILE *out = fopen(to, "w");
    if (!out || fprintf(out, "%s\n", text) < 0 || fclose(out))
        return failed(to);
    return 0;
}

static int ask(const char *address) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80)};
    int out = socket(AF_INET, SOCK_STREAM, 0);
    if (out < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1 || connect(out, (struct sockaddr *)&to, sizeof to))
        return failed(address);
    return 0;
}

int main(int count, char **words) {
    const char *verb = count > 1 ? words[1] : "";
    if (!strcmp(verb, "say") && count == 3)
        return puts(words[2]) < 0;
    if (!strcmp(verb, "both") && count == 4)
        return puts(words[2]) < 0 || fprintf(stderr, "%s\n", words[3]) < 0;
    if (!strcmp(verb, "fail") && count == 3)
        return fprintf(stderr, "%s\n", words[2]), 3;
    if (!strcmp(verb, "lines") && count == 3)
        for (int n = 1; n <= atoi(words[2]); n++)
            printf("line %d\n", n);
    if (!strcmp(verb, "sleep") && count == 3)
        return puts("asleep"), fflush(stdout), sleep((unsigned)atoi(words[2])), 0;
    if (!strcmp(verb, "write") && count == 4)
        return write_text(words[2], words[3]);
    if (!strcmp(verb, "copy") && count == 4)
        return copy(words[2], words[3], 1L << 40);
    if (!strcmp(verb, "fill") && count == 4)
        return copy("/dev/zero", words[2], atol(words[3]));
    if (!strcmp(verb, "random") && count == 3)
        return copy("/dev/urandom", words[2], 64);
    if (!strcmp(verb, "link") && count == 4)
        return symlink(words[2], words[3]) ? failed(words[3]) : 0;
    if (!strcmp(verb, "ask") && count == 3)
        return ask(words[2]);
    if (!strcmp(verb, "folder") && count == 3)
        return mkdir(words[2], 0755) ? failed(words[2]) : 0;
    if (!strcmp(verb, "move") && count == 4)
        return rename(words[2], words[3]) ? failed(words[3]) : 0;
    return strcmp(verb, "lines") ? (fprintf(stderr, "tool: what is %s?\n", verb), 2) : 0;
}
