# SPDX-License-Identifier: MIT OR Apache-2.0
#
# What `cmake --install` puts where. The tree may be moved afterwards.

include(CMakePackageConfigHelpers)
set(rl_cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/ringline")

install(
  TARGETS ringline
  EXPORT ringlineTargets
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT runtime NAMELINK_COMPONENT development
  FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT development)
install(
  TARGETS ringline_static
  EXPORT ringlineStaticTargets
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT development)
foreach(export IN ITEMS ringlineTargets ringlineStaticTargets)
  install(
    EXPORT ${export}
    NAMESPACE ringline::
    DESTINATION "${rl_cmake_dir}"
    COMPONENT development)
endforeach()

configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/ringlineConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/ringlineConfig.cmake" INSTALL_DESTINATION "${rl_cmake_dir}")
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(rl_compatibility SameMinorVersion)
else()
  set(rl_compatibility SameMajorVersion)
endif()
write_basic_package_version_file("${PROJECT_BINARY_DIR}/ringlineConfigVersion.cmake"
                                 COMPATIBILITY ${rl_compatibility})
install(
  FILES "${PROJECT_BINARY_DIR}/ringlineConfig.cmake"
        "${PROJECT_BINARY_DIR}/ringlineConfigVersion.cmake"
  DESTINATION "${rl_cmake_dir}"
  COMPONENT development)

# pkg-config: relative to the file itself, where the directories allow it.
set(rl_pc_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(rl_pc_prefix "${CMAKE_INSTALL_PREFIX}")
  set(rl_pc_libdir "${CMAKE_INSTALL_LIBDIR}")
else()
  file(RELATIVE_PATH rl_up "/${rl_pc_dir}" "/")
  string(REGEX REPLACE "/$" "" rl_up "${rl_up}")
  set(rl_pc_prefix "\${pcfiledir}/${rl_up}")
  set(rl_pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
endif()
if(IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(rl_pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
else()
  set(rl_pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file("${PROJECT_SOURCE_DIR}/cmake/ringline.pc.in" "${PROJECT_BINARY_DIR}/ringline.pc" @ONLY)
install(
  FILES "${PROJECT_BINARY_DIR}/ringline.pc"
  DESTINATION "${rl_pc_dir}"
  COMPONENT development)

install(
  FILES "${PROJECT_SOURCE_DIR}/LICENSE-MIT" "${PROJECT_SOURCE_DIR}/LICENSE-APACHE"
  DESTINATION "${CMAKE_INSTALL_DOCDIR}"
  COMPONENT development)
