// What is on the disk under SQLite's two files, as fsync(2) has it: beside each lies a file with what was synced. A sync
// fails while the file that MARU_TEST_DISK_FAILS names is there; what it should have written counts as written for the
// kernel from then on, and is not: a later sync does not write it.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct piece {
    char *file;
    off_t at;
    size_t size;
    struct piece *next;
};

static struct piece *unsynced;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *real(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

static int is_ours(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    return name && (!strcmp(name, "/maru.db") || !strcmp(name, "/maru.db-wal"));
}

static int synced_file(const char *path) {
    char name[PATH_MAX + 8];
    snprintf(name, sizeof name, "%s.synced", path);
    return open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static void wrote(const char *path, off_t at, size_t size) {
    struct piece *piece = malloc(sizeof *piece);
    pthread_mutex_lock(&lock);
    *piece = (struct piece){strdup(path), at, size, unsynced};
    unsynced = piece;
    pthread_mutex_unlock(&lock);
}

static void copy(int fd, int to, const struct piece *piece) {
    char *bytes = malloc(piece->size);
    ssize_t size = pread(fd, bytes, piece->size, piece->at);
    ssize_t (*write)(int, const void *, size_t, off_t) = real("pwrite");
    if (size > 0 && write(to, bytes, size, piece->at) != size) abort();
    free(bytes);
}

static int sync_file(int fd, const char *path) {
    const char *signal = getenv("MARU_TEST_DISK_FAILS");
    int fails = signal && access(signal, F_OK) == 0;
    int to = synced_file(path);
    pthread_mutex_lock(&lock);
    for (struct piece **place = &unsynced; *place;) {
        struct piece *piece = *place;
        if (strcmp(piece->file, path)) {
            place = &piece->next;
            continue;
        }
        if (!fails) copy(fd, to, piece);
        *place = piece->next;
        free(piece->file);
        free(piece);
    }
    pthread_mutex_unlock(&lock);
    close(to);
    if (!fails) return 0;
    errno = EIO;
    return -1;
}

int fsync(int fd) {
    char path[PATH_MAX];
    if (is_ours(fd, path)) return sync_file(fd, path);
    int (*fsync)(int) = real("fsync");
    return fsync(fd);
}

int fdatasync(int fd) {
    char path[PATH_MAX];
    if (is_ours(fd, path)) return sync_file(fd, path);
    int (*fdatasync)(int) = real("fdatasync");
    return fdatasync(fd);
}

ssize_t write(int fd, const void *bytes, size_t size) {
    char path[PATH_MAX];
    int ours = is_ours(fd, path);
    off_t at = ours ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t (*write)(int, const void *, size_t) = real("write");
    ssize_t written = write(fd, bytes, size);
    if (ours && written > 0) wrote(path, at, written);
    return written;
}

static ssize_t write_at(const char *name, int fd, const void *bytes, size_t size, off_t at) {
    char path[PATH_MAX];
    ssize_t (*write)(int, const void *, size_t, off_t) = real(name);
    ssize_t written = write(fd, bytes, size, at);
    if (written > 0 && is_ours(fd, path)) wrote(path, at, written);
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    return write_at("pwrite", fd, bytes, size, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    return write_at("pwrite64", fd, bytes, size, at);
}

static int cut(const char *name, int fd, off_t size) {
    char path[PATH_MAX];
    int (*ftruncate)(int, off_t) = real(name);
    int done = ftruncate(fd, size);
    if (done == 0 && is_ours(fd, path)) {
        int to = synced_file(path);
        if (ftruncate(to, size)) abort();
        close(to);
    }
    return done;
}

int ftruncate(int fd, off_t size) {
    return cut("ftruncate", fd, size);
}

int ftruncate64(int fd, off64_t size) {
    return cut("ftruncate64", fd, size);
}
