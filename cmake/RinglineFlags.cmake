# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Flags, as interface targets that ringline's own targets link privately. Users get none of them.
#
#   ringline_warnings    what the compiler has to say
#   ringline_hardening   what makes a bug harder to exploit
#   ringline_instrument  sanitizers and coverage; empty in a normal build
#   ringline_flags       all three

include(CheckCCompilerFlag)

add_library(ringline_warnings INTERFACE)
target_compile_options(
  ringline_warnings
  INTERFACE -Wall
            -Wextra
            -Wpedantic
            -Wshadow
            -Wconversion
            -Wno-sign-conversion
            -Wstrict-prototypes
            -Wmissing-prototypes
            -Wundef
            -Wvla
            -Wformat=2
            -Wcast-align
            -Wpointer-arith
            -Wwrite-strings
            -Wimplicit-fallthrough
            -Wswitch-enum
            $<$<BOOL:${RL_WERROR}>:-Werror>)

# The first of the given spellings that the compiler takes.
function(rl_harden name)
  set(index 0)
  foreach(flag IN LISTS ARGN)
    math(EXPR index "${index} + 1")
    set(var "RL_HAVE_${name}_${index}")
    check_c_compiler_flag("${flag}" ${var})
    if(${var})
      separate_arguments(flags UNIX_COMMAND "${flag}")
      target_compile_options(ringline_hardening INTERFACE ${flags})
      return()
    endif()
  endforeach()
endfunction()

add_library(ringline_hardening INTERFACE)
target_compile_options(
  ringline_hardening INTERFACE -fno-strict-aliasing -fstack-protector-strong -Werror=format-security)
target_link_options(
  ringline_hardening INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed)
rl_harden(STACK_CLASH -fstack-clash-protection)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64|i[3-6]86)$")
  rl_harden(CONTROL_FLOW -fcf-protection)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  rl_harden(CONTROL_FLOW -mbranch-protection=standard)
endif()
# clang below 16 wants a second flag as a sign of understanding.
rl_harden(
  AUTO_VAR_INIT
  -ftrivial-auto-var-init=zero
  "-ftrivial-auto-var-init=zero -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang"
)

# Fortified calls exist only where the compiler optimises, and hide from the sanitizers what they
# intercept.
if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_C_COMPILER_VERSION VERSION_GREATER_EQUAL 12)
  set(rl_fortify_level 3)
else()
  set(rl_fortify_level 2)
endif()
if(NOT RL_SANITIZE AND NOT RL_COVERAGE)
  target_compile_options(
    ringline_hardening
    INTERFACE
      "$<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=${rl_fortify_level}>"
  )
endif()

add_library(ringline_instrument INTERFACE)
if(RL_SANITIZE)
  list(JOIN RL_SANITIZE "," rl_sanitizers)
  target_compile_options(
    ringline_instrument INTERFACE -O1 -g -fno-omit-frame-pointer -fsanitize=${rl_sanitizers}
                                  -fno-sanitize-recover=all)
  target_link_options(ringline_instrument INTERFACE -fsanitize=${rl_sanitizers})
endif()
if("undefined" IN_LIST RL_SANITIZE AND CMAKE_C_COMPILER_ID MATCHES "Clang")
  # Other people's inline functions are not ours to mend.
  target_compile_options(
    ringline_instrument
    INTERFACE -fsanitize=implicit-conversion
              -fsanitize-ignorelist=${PROJECT_SOURCE_DIR}/cmake/sanitize_ignore.txt)
  target_link_options(ringline_instrument INTERFACE -fsanitize=implicit-conversion)
endif()
if(RL_COVERAGE)
  target_compile_options(ringline_instrument INTERFACE -O0 -g --coverage -fprofile-update=atomic)
  target_link_options(ringline_instrument INTERFACE --coverage)
endif()

add_library(ringline_flags INTERFACE)
target_compile_definitions(ringline_flags INTERFACE _GNU_SOURCE)
target_link_libraries(ringline_flags INTERFACE ringline_warnings ringline_hardening
                                               ringline_instrument)
