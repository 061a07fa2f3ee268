# SPDX-License-Identifier: MIT OR Apache-2.0
#
# One line declares a test, an example or a benchmark.

# A test that exits with 77 was skipped, and says why. With RL_NO_SKIPS that is a failure, and so is a
# case that cmocka skipped.
set(RL_SKIP_CODE 77)

# Sanitized programs are slow, and so are busy machines. A test's own patience says what hangs; these
# limits end what forgot to have any.
if(RL_SANITIZE OR RL_COVERAGE OR CMAKE_CROSSCOMPILING)
  set(RL_TIMEOUT_FACTOR 12)
else()
  set(RL_TIMEOUT_FACTOR 3)
endif()

set(RL_TEST_ENV
    "RL_EXAMPLES_DIR=${PROJECT_BINARY_DIR}/examples"
    "RL_BENCH_DIR=${PROJECT_BINARY_DIR}/bench"
    "ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1"
    "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")

# The sanitizers of gcc 12 and clang 14 want their shadow memory where a kernel with more than 28
# random bits may put a program.
set(RL_TEST_LAUNCHER "")
if(RL_SANITIZE AND EXISTS /proc/sys/vm/mmap_rnd_bits)
  execute_process(
    COMMAND cat /proc/sys/vm/mmap_rnd_bits
    OUTPUT_VARIABLE rl_random_bits
    ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  find_program(RL_SETARCH setarch)
  mark_as_advanced(RL_SETARCH)
  if(rl_random_bits GREATER 28 AND RL_SETARCH)
    execute_process(COMMAND "${RL_SETARCH}" -R true RESULT_VARIABLE rl_setarch_result ERROR_QUIET)
    if(rl_setarch_result EQUAL 0)
      set(RL_TEST_LAUNCHER "${RL_SETARCH}" -R)
    endif()
  endif()
endif()

if(CMAKE_CROSSCOMPILING_EMULATOR)
  set(RL_TEST_LAUNCHER ${CMAKE_CROSSCOMPILING_EMULATOR})
endif()

# rl_test_properties(<ctest name> <label> <timeout in seconds> [<NAME=value>...])
#
# What every ctest entry needs; for tests that are not a program of ours.
function(rl_test_properties test label timeout)
  math(EXPR scaled "${timeout} * ${RL_TIMEOUT_FACTOR}")
  set_tests_properties(
    ${test}
    PROPERTIES LABELS ${label}
               TIMEOUT ${scaled}
               ENVIRONMENT "${RL_TEST_ENV};${ARGN}")
  if(RL_NO_SKIPS)
    set_tests_properties(${test} PROPERTIES FAIL_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
  else()
    set_tests_properties(${test} PROPERTIES SKIP_RETURN_CODE ${RL_SKIP_CODE})
  endif()
endfunction()

# rl_program(<target> SOURCES <file>... [LIBS <library>...])
function(rl_program target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBS")
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE ringline_flags ${arg_LIBS})
endfunction()

# rl_test(<label> <name> [SOURCES <file>...] [LIBS <library>...] [ARGS <argument>...]
#         [ENV <NAME=value>...] [TIMEOUT <seconds>] [PROCESSORS <n>] [FALLBACKS] [ROUND_ROBIN])
#
# Builds test_<label>_<name> from SOURCES, by default test_<name>.c or <name>.c, and makes the ctest
# entry <label>.<name>. LIBS is what it tests: by default ringline_sim for label sim, and
# ringline_internal otherwise; cmocka comes along. FALLBACKS makes one more entry for each item of
# RINGLINE_FALLBACKS, <label>.<name>.without_<item>, with RL_TEST_WITHOUT=<item> in its environment;
# ROUND_ROBIN one for each mode with an acceptor, <label>.<name>.round_robin and .least_loaded, with
# RL_TEST_ACCEPT=<mode>.
function(rl_test label name)
  cmake_parse_arguments(PARSE_ARGV 2 arg "FALLBACKS;ROUND_ROBIN" "TIMEOUT;PROCESSORS" "SOURCES;LIBS;ARGS;ENV")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "rl_test(${label} ${name}): what is ${arg_UNPARSED_ARGUMENTS}?")
  endif()
  if(NOT arg_SOURCES)
    set(arg_SOURCES test_${name}.c)
    if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/test_${name}.c")
      set(arg_SOURCES ${name}.c)
    endif()
  endif()
  if(NOT arg_LIBS)
    set(arg_LIBS ringline_internal)
    if(label STREQUAL "sim")
      set(arg_LIBS ringline_sim)
    endif()
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  if(NOT arg_PROCESSORS)
    set(arg_PROCESSORS 1)
  endif()

  set(target test_${label}_${name})
  rl_program(${target} SOURCES ${arg_SOURCES} LIBS ${arg_LIBS} PkgConfig::cmocka Threads::Threads)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME test_${name})
  if(CMAKE_INTERPROCEDURAL_OPTIMIZATION AND label MATCHES "^(unit|sim)$")
    # These prove what the code does, not how fast: to optimise the library once per program only
    # costs time.
    set_target_properties(${target} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
    target_link_options(${target} PRIVATE -fno-lto)
  endif()

  set(runs "${label}.${name}")
  if(arg_ROUND_ROBIN)
    list(APPEND runs "${label}.${name}.round_robin" "${label}.${name}.least_loaded")
  endif()
  if(arg_FALLBACKS AND RL_TEST_FALLBACKS)
    foreach(fallback IN LISTS RINGLINE_FALLBACKS)
      list(APPEND runs "${label}.${name}.without_${fallback}")
    endforeach()
  endif()
  foreach(run IN LISTS runs)
    add_test(NAME ${run} COMMAND ${RL_TEST_LAUNCHER} $<TARGET_FILE:${target}> ${arg_ARGS})
    set(env ${arg_ENV})
    if(run MATCHES "\\.without_(.+)$")
      list(APPEND env "RL_TEST_WITHOUT=${CMAKE_MATCH_1}")
    elseif(run MATCHES "\\.(round_robin|least_loaded)$")
      list(APPEND env "RL_TEST_ACCEPT=${CMAKE_MATCH_1}")
    endif()
    rl_test_properties(${run} ${label} ${arg_TIMEOUT} ${env})
    set_tests_properties(${run} PROPERTIES PROCESSORS ${arg_PROCESSORS})
  endforeach()
endfunction()

# rl_example(<name> [SOURCES <file>...])
#
# Builds examples/<name>, by default from <name>.c, and tests that it explains itself.
function(rl_example name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES")
  if(NOT arg_SOURCES)
    set(arg_SOURCES ${name}.c)
  endif()
  rl_program(${name} SOURCES ${arg_SOURCES} LIBS example_support)
  if(RL_BUILD_TESTS)
    # Both ends of a program's manners: --help is not an error, an unknown option is.
    add_test(
      NAME example.${name}
      COMMAND "${PROJECT_SOURCE_DIR}/tests/smoke.sh" $<TARGET_FILE:${name}>
      COMMAND_EXPAND_LISTS)
    rl_test_properties(example.${name} example 20)
  endif()
endfunction()

# rl_bench(<name> [SOURCES <file>...] [LIBS <library>...])
#
# Builds bench/<name>, by default from <name>.c and with the public library.
function(rl_bench name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBS")
  if(NOT arg_SOURCES)
    set(arg_SOURCES ${name}.c)
  endif()
  if(NOT arg_LIBS)
    set(arg_LIBS ringline::ringline_static)
  endif()
  rl_program(${name} SOURCES ${arg_SOURCES} LIBS ${arg_LIBS})
endfunction()
