# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Every option of the build, and what follows from it.

option(RL_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(RL_BUILD_EXAMPLES "Build the examples" ${PROJECT_IS_TOP_LEVEL})
option(RL_BUILD_BENCH "Build the benchmarks" ${PROJECT_IS_TOP_LEVEL})
option(RL_INSTALL "Make install rules" ${PROJECT_IS_TOP_LEVEL})
option(RL_WERROR "Turn warnings into errors" OFF)
option(RL_COVERAGE "Measure which code the tests run" OFF)
option(RL_CI "The gate: add what only it runs, the other presets and clang-tidy among it" OFF)
option(RL_NO_SKIPS "A test that is skipped fails" ${RL_CI})
option(RL_TEST_FALLBACKS "Run the integration tests once more without each optional kernel feature"
       ${RL_CI})

set(RL_SANITIZE "" CACHE STRING "Sanitizers: empty, \"address;undefined\" or \"thread\"")
set_property(CACHE RL_SANITIZE PROPERTY STRINGS "" "address;undefined" "thread")
foreach(sanitizer IN LISTS RL_SANITIZE)
  if(NOT sanitizer MATCHES "^(address|undefined|thread)$")
    message(FATAL_ERROR "RL_SANITIZE: \"${sanitizer}\" is none of address, undefined, thread")
  endif()
endforeach()
if("thread" IN_LIST RL_SANITIZE AND "address" IN_LIST RL_SANITIZE)
  message(FATAL_ERROR "RL_SANITIZE: thread and address exclude each other")
endif()

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

get_property(rl_multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
if(PROJECT_IS_TOP_LEVEL AND NOT rl_multi_config AND NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()

# gcc can put machine code beside the LTO code, so that anybody can link the installed archive. clang
# 14 cannot: its archive would be of use to the same clang only.
if(CMAKE_INTERPROCEDURAL_OPTIMIZATION AND NOT CMAKE_C_COMPILER_ID STREQUAL "GNU")
  message(STATUS "ringline: no link-time optimisation with ${CMAKE_C_COMPILER_ID}")
  set(CMAKE_INTERPROCEDURAL_OPTIMIZATION OFF)
endif()

include(CheckPIESupported)
check_pie_supported(LANGUAGES C)
